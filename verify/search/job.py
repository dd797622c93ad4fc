"""What ``vampnet-onnx quantise`` does: which layers a form may round, and which it may not."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError, nearest
from vampnet_onnx.configs.leave import Left as LeftTable
from vampnet_onnx.configs.machine import cores, processor
from vampnet_onnx.configs.manifest import METADATA_PREFIX, ComponentRecord
from vampnet_onnx.configs.names import TRANSFORMERS
from vampnet_onnx.configs.packaged import CLIP, DEMO_SET, packaged_set
from vampnet_onnx.export.onnx_file import read_graph
from vampnet_onnx.export.toolchain import source_hash, toolchain
from vampnet_onnx.export.variants.forms import FORMS, largest_error, left_in_float32

from .cases import Inputs, Masked, cases_of, clip_inputs
from .kept import Kept
from .measure import Cost, Left, Measured
from .smallest import by_cost, smallest_left

# Positions under a mask whose best token is clear of the second: with fewer there is no
# agreement to speak of, and of so few one is more than the 2 % that are usually asked about.
_FEWEST, _FEW = 5, 50

REST = "everything but the layers"


@dataclass(frozen=True)
class Layer:
    """A product of a transformer.

    Attributes:
        error: relative error of its product by itself, as export measures it.
        alone: what the form costs with this layer in it and the others in float32.
        left: it stays in float32.
    """

    name: str
    bytes: int
    error: float
    alone: Cost
    left: bool


@dataclass(frozen=True)
class Sensitivity:
    """What was found of one transformer in one form.

    Attributes:
        layers: the dearest for its bytes first.
        always: left whatever is asked: their products' own error is too large.
        rest: what the form costs with every layer in float32.
        whole: what it costs with none but `always` there.
        cost: what it costs with `left` there, measured once more on the finished graph; None
            where no agreement was asked for.
        positions: how many count for the agreement, by mask.
        table: for a file that export takes; None where no agreement was asked for.
        measured: on what and by what, in words.
    """

    component: str
    form: str
    layers: Sequence[Layer]
    always: Left
    rest: Cost
    whole: Cost
    left: Left
    cost: Cost | None
    float32_bytes: int
    form_bytes: int
    positions: Mapping[str, int]
    table: LeftTable | None
    measured: Mapping[str, str]


def measure_layers(
    artifacts: Artifacts,
    *,
    form: str = "int8",
    agreement: float | None = None,
    components: Sequence[str] = (),
    clip: Path | None = None,
    seeds: Sequence[int] = (0,),
    kept: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
    note: Callable[[str], None] = lambda _text: None,
) -> list[Sensitivity]:
    """Measure what rounding each layer of a version's transformers costs.

    Every product is rounded alone, in the graph that export would write; then, where an
    agreement is asked for, the fewest are sought that must stay in float32 to keep it.  The
    reference is the version's own float32 file.

    Args:
        form: ``int8``, ``w8`` and so on.
        agreement: share of equal best tokens to keep, in the worst of the masks, above 0 and
            at most 1; None only measures.
        components: transformers; all that the version has in float32 if left out.
        clip: audio whose codes are masked; the one that comes along if left out.
        seeds: of the masks.
        kept: folder where measurements are kept, for a run that goes on; None keeps none.
        progress: told the component, measurements done and their number.
        note: told what somebody should know, of the clip or of what was kept.

    Raises:
        InputError: an option or the version is not fit for it, or the agreement cannot be
            reached by a smaller file.
    """
    if form not in FORMS:
        raise InputError(
            f"--variant {form}: known are {', '.join(FORMS)}{nearest(form, [*FORMS])}"
        )
    if agreement is not None and not 0 < agreement <= 1:
        raise InputError(
            f"--agreement {agreement:g}: is a share of tokens, above 0 and at most 1, such as"
            " 0.98"
        )
    records = _records(artifacts, components)
    inputs = clip_inputs(artifacts, clip or packaged_set(DEMO_SET) / CLIP, say=note)
    return [
        _of_one(artifacts, record, form, agreement, inputs, seeds, kept, progress, note)
        for record in records
    ]


def _records(artifacts: Artifacts, components: Sequence[str]) -> list[ComponentRecord]:
    there = {n: r for n in TRANSFORMERS if (r := artifacts.manifest.component(n)) is not None}
    for name in components:
        if name not in there:
            known = ", ".join(there) or "no transformer"
            raise InputError(
                f"--component {name}: {artifacts.folder} has {known} by codes in float32"
                f"{nearest(name, [*there])}"
            )
    if not there:
        raise InputError(
            f"{artifacts.folder}: has no transformer by codes in float32, which forms are"
            " measured against; export with --variants fp32"
        )
    return [record for name, record in there.items() if not components or name in components]


def _of_one(
    artifacts: Artifacts,
    record: ComponentRecord,
    form: str,
    agreement: float | None,
    inputs: Inputs,
    seeds: Sequence[int],
    kept: Path | None,
    progress: Callable[[str, int, int], None],
    note: Callable[[str], None],
) -> Sensitivity:
    path = artifacts.path(record)
    cases = cases_of(record, inputs, seeds)
    facts = {
        "file": f"{record.file.name}, sha256 {record.file.sha256[:16]}",
        "codes": inputs.said,
        "frames": str(cases[0].codes.shape[-1]),
        "masks": ", ".join(dict.fromkeys(case.mask for case in cases)),
        "seeds": ", ".join(map(str, seeds)),
        "runtime": f"onnxruntime {toolchain()['onnxruntime']}",
        "vampnet-onnx": toolchain()["vampnet-onnx"],
        "processor": processor(),
    }
    key = {
        **facts,
        **{f"hash of {file.name}": file.sha256 for file in record.files},
        "form": form,
        "cases": _digest(cases),
        "cores": str(cores()),
        "made by": source_hash(),
        "tools": json.dumps(toolchain(), sort_keys=True),
    }
    costs = Kept(kept, key, note)
    model = Measured(record, path, FORMS[form], cases)
    positions = model.positions
    _require_enough(record.id, positions, agreement, note)
    names = sorted(model.errors)
    alone = {}
    for done, name in enumerate(names):
        progress(record.id, done, len(names) + 1)
        alone[name] = costs.of(f"alone: {name}", partial(model.alone, name))
    rest = costs.of(f"alone: {REST}", lambda: model.alone(None))
    order = by_cost(alone, rest, model.bytes)
    always = left_in_float32(model.errors, largest_error(FORMS[form]))

    def combined(left: Left) -> Cost:
        progress(f"{record.id}, combined", len(names), len(names) + 1)
        together = f"left: {' '.join(sorted(left))}"
        return costs.of(together, lambda: model.combined(left))

    whole = combined(always)
    left, cost, table = always, None, None
    if agreement is not None:
        left = smallest_left(
            record.id,
            order,
            always,
            asked=agreement,
            weights=model.bytes,
            is_form=model.is_form,
            cost=combined,
        )
        cost = model.combined(left)  # what is told of it is of this run
        if not cost.agreement >= agreement:
            raise InputError(
                f"{record.id}: {cost.agreement:.6g} agree where {combined(left).agreement:.6g}"
                " did in an earlier run; measure all of it again with --no-cache"
            )
        table = LeftTable(
            left=sorted(left - always),
            asked=agreement,
            agreement=cost.agreement,
            kl_nats=cost.kl_nats,
            sources=_sources(path),
            measured=facts,
        )
    progress(record.id, len(names) + 1, len(names) + 1)
    return Sensitivity(
        component=record.id,
        form=form,
        layers=[
            Layer(name, model.bytes[name], model.errors[name], alone[name], name in left)
            for name in order
        ],
        always=always,
        rest=rest,
        whole=whole,
        left=left,
        cost=cost,
        float32_bytes=model.float32_bytes,
        form_bytes=model.form_bytes(left),
        positions=positions,
        table=table,
        measured=facts,
    )


def _require_enough(
    who: str,
    positions: Mapping[str, int],
    agreement: float | None,
    note: Callable[[str], None],
) -> None:
    """Refuse an agreement of hardly any positions, and say where one of them decides it.

    Raises:
        InputError: under a mask there are fewer than `_FEWEST`.
    """
    mask = min(positions, key=lambda name: positions[name])
    count = positions[mask]
    way_out = "give another --clip, or more --seeds"
    if agreement is not None and count < _FEWEST:
        raise InputError(
            f"{who}: under a mask of {mask} the best token is clear of the second in {count}"
            f" positions, of which {_FEWEST} at least must count for an agreement; {way_out}"
        )
    if count < _FEW:
        note(
            f"{who}: under a mask of {mask} only {count} positions count, one of them for"
            f" {1 / max(1, count):.1%} of the agreement; {way_out}"
        )


def _digest(cases: Sequence[Masked]) -> str:
    digest = hashlib.sha256()
    for case in cases:
        digest.update(f"{case.mask} {case.codes.shape}\n".encode() + case.codes.tobytes())
    return digest.hexdigest()


def _sources(path: Path) -> list[str]:
    """Return the hashes of the checkpoint's files that a file of ours was made from.

    Raises:
        InputError: it does not say.
    """
    said = read_graph(path).metadata_props.get(f"{METADATA_PREFIX}sources")
    if said is None:
        raise InputError(f"{path}: does not say which checkpoint it is of; export again")
    return [source["sha256"] for source in json.loads(said)]
