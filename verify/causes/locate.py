"""Localisation of one component: its files opened, both sides walked, NaN looked for."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, temporary_folder
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import BFLOAT16, CODEC, variant_of
from vampnet_onnx.configs.runtime import USUAL, Runtime
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component, required_checkpoint
from vampnet_onnx.export.onnx_file import read_graph, save_graph
from vampnet_onnx.export.options import Files, Names, listed, lora_overlays
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.pipeline.version.providers import require_runtime
from vampnet_onnx.verify.localisation.changes import Change, graph_changes, what_happened
from vampnet_onnx.verify.localisation.culprit import Localisation
from vampnet_onnx.verify.localisation.graph import GraphModules
from vampnet_onnx.verify.localisation.nonfinite import Birth, find_birth
from vampnet_onnx.verify.localisation.source import GraphSource, Source
from vampnet_onnx.verify.localisation.torch_source import RecordedSource, TorchSource
from vampnet_onnx.verify.localisation.walk import localise
from vampnet_onnx.verify.sides.export import require_same_sources
from vampnet_onnx.verify.sides.recorded import RecordedReference, RecordedSet
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import SUBJECTS, subject_of

from .component_file import STANDARD, ComponentFile, open_component, walkable
from .fresh import exported_afresh, file_changes

_FRAMES = 23  # enough to see neighbours, few for any memory; prime, so no dimension is like it


@dataclass(frozen=True)
class Located:
    """What a walk found.

    Attributes:
        component: with variant.
        birth: where non-finite values come from, if there are any.
        unvouched: files whose content no manifest vouches for.
        happened: what differs at each culprit, in words.
        differs: how two files differ of which no module goes wrong, in words.
        runtime: that it was walked on.
    """

    component: str
    localisation: Localisation
    birth: Birth
    unvouched: tuple[str, ...]
    case: str
    happened: Mapping[str, str] = field(default_factory=dict)
    differs: str = ""
    runtime: Runtime = USUAL

    def __repr__(self) -> str:
        named = ", ".join(self.localisation.culprits) or "no module introduces an error"
        return f"<Located in {self.case}: {named}>"

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row a module, in the order in which the reference runs them."""
        culprits = self.localisation.culprits
        return [
            {
                "component": self.component,
                **dataclasses.asdict(finding),
                "culprit": finding.path in culprits,
            }
            for finding in self.localisation.findings
        ]


def localise_error(
    artifacts: Artifacts | str | Path,
    checkpoint: str | Path | None = None,
    *,
    new: str | Path | None = None,
    case: str | None = None,
    component: str | None = None,
    seed: int = 0,
    length: int | None = None,
    batch: int = 2,
    codec: str | Path | None = None,
    lora: Files = (),
    unsealed: bool = False,
    reference: Literal["models", "golden"] = "models",
    runtime: Runtime = USUAL,
) -> Located:
    """Walk an export module by module and name the one that introduces an error.

    Args:
        artifacts: opened, the folder of a version, a model or a store, or one ``.onnx`` file.
        checkpoint: folder of the checkpoints it was made from.
        new: compare this version or file with the first instead of with a checkpoint.
        case: id of the case to walk, as reports name it; it names its component.
        component: with variant; ``coarse`` if left out, or what the file holds.
        seed: without a case: of the input, or number of the recorded case.
        length: frames, or samples of audio.
        codec: file of the codec, in place of the folder's own.
        lora: LoRA files of the export, as for `verify_export`.
        reference: our models, or what a recorded set in the checkpoint folder holds.
        runtime: that artifacts run on, cut into parts; components that belong there.  What
            is a form in bf16 is walked in float32, see `walked_on`.

    Raises:
        InputError: something named is not there or does not fit.
        EnvironmentLacksError: the runtime is not installed, or does not run all of a part.
    """
    one: Names = (component,) if component is not None else ()
    cases: Names = (case,) if case is not None else ()
    if not one and not cases and not _is_file(artifacts):
        one = (variant_of(STANDARD, BFLOAT16 if runtime.bf16 else ""),)
    (found,) = localise_each(
        artifacts,
        checkpoint,
        new=new,
        cases=cases,
        components=one,
        seed=seed,
        length=length,
        batch=batch,
        codec=codec,
        lora=lora,
        unsealed=unsealed,
        reference=reference,
        runtime=runtime,
    )
    return found


def localise_each(
    artifacts: Artifacts | str | Path,
    checkpoint: str | Path | None = None,
    *,
    new: str | Path | None = None,
    cases: Names = (),
    components: Names = (),
    seed: int = 0,
    length: int | None = None,
    batch: int = 2,
    codec: str | Path | None = None,
    lora: Files = (),
    unsealed: bool = False,
    reference: Literal["models", "golden"] = "models",
    runtime: Runtime = USUAL,
    progress: Callable[[str], None] = lambda _name: None,
) -> Iterator[Located]:
    """Walk several components, or several cases, one after the other.

    Args as of `localise_error`, and:
        cases: to walk; without any, a standard one of every component.
        components: to walk; without any, all of a version, or the one that a file holds.
        progress: told what is walked next.
    """
    require_runtime(runtime)
    if (checkpoint is None) == (new is None):
        raise InputError("give --checkpoint DIR, or a second version to compare with")
    if reference == "golden" and (checkpoint is None or length is not None):
        raise InputError(
            "--reference golden takes the inputs of the recorded set in --checkpoint DIR, so"
            " no --length"
        )
    asked = [Case.parse(text) for text in dict.fromkeys(listed(cases))]
    names: list[str | None] = [*dict.fromkeys(listed(components))]
    for case in asked:
        if names and case.component not in names:
            raise InputError(f"{case.id} is no case of {names[0]}; leave --component out")
        _require_graph(case.component, case.id)
    for name in names:
        _require_graph(str(name), str(name))
    opened = artifacts
    if not isinstance(opened, Artifacts) and not _is_file(opened):
        opened = open_artifacts(opened, unsealed=unsealed)
    if isinstance(opened, Artifacts):
        unsealed = unsealed or bool(opened.changed)
        opened = opened.run_on(runtime)
    folder = Path(checkpoint) if checkpoint is not None else None
    overlays = lora_overlays(lora, folder)
    recorded = RecordedSet(folder) if folder is not None and reference == "golden" else None
    if not names and isinstance(opened, Artifacts):
        names += [
            record.id
            for record in opened.manifest.components
            if subject_of(record).walks and (recorded is None or recorded.has(record))
        ]
    checkpoints = None
    if folder is not None:
        own_codec = Path(codec) if codec is not None else None
        checkpoints = Checkpoints(folder, overlays, codec=own_codec)
    walks: list[tuple[str | None, Case | None]] = [(c.component, c) for c in asked]
    for name, one in walks or [(name, None) for name in names or [None]]:
        progress(one.id if one else name or str(artifacts))
        part = open_component(opened, name, lora=overlays, runtime=runtime)
        subject = subject_of(part.record)
        if one is not None:
            subject.require(part.record, one)
        walked = one or subject.one_case(
            part.record, seed=seed, batch=batch, frames=_FRAMES, length=length
        )
        if checkpoints is None:
            assert new is not None
            yield _against_another(part, walked, Path(new), unsealed, runtime)
        else:
            yield _against_checkpoint(
                part, walked if recorded is None else one, checkpoints, recorded, seed
            )


def _is_file(artifacts: Artifacts | str | Path) -> bool:
    path = None if isinstance(artifacts, Artifacts) else Path(artifacts)
    return path is not None and is_there(path) and path.is_file()


def _against_another(
    part: ComponentFile, case: Case, new: Path, unsealed: bool, runtime: Runtime
) -> Located:
    other = open_component(
        new if _is_file(new) else open_artifacts(new, unsealed=unsealed).run_on(runtime),
        part.record.id,
        runtime=runtime,
    )
    old = GraphSource(part.graph, subject_of(part.record).inputs(part.record, case))
    # With their folders: both may go by one name.
    names = (str(side.path.parent / n) for side in (part, other) for n in side.unvouched)
    found = _located(part, case, old, other.graph, tuple(names))
    changes = graph_changes(read_graph(part.path), read_graph(other.path))
    if not found.localisation.culprits:
        return replace(found, differs=what_happened(changes, ""))
    return replace(found, happened=_happened(found, changes))


def _against_checkpoint(
    part: ComponentFile,
    case: Case | None,
    checkpoints: Checkpoints,
    recorded: RecordedSet | None,
    seed: int,
) -> Located:
    """Walk beside our models, or beside what was recorded of a case (by number, for None)."""
    record = part.record
    models = checkpoints.models_for(required_checkpoint(record.name))
    require_same_sources(models, part.sources, part.path)
    if recorded is not None:
        reference = RecordedReference(recorded, models)
        case = case or _recorded_case(reference, seed, record, checkpoints.folder)
        reference.require(record, case)
        source = recorded_source(reference, case, models, record)
        found = _located(part, case, source, part.graph, part.unvouched)
    else:
        assert case is not None
        inputs = subject_of(record).inputs(record, case)
        with reference_source(models, record, inputs) as right:
            found = _located(part, case, right, part.graph, part.unvouched)
    if not found.localisation.culprits:
        return found
    if part.adapted:
        others = {n: path for n, path in checkpoints.lora.items() if n != record.name}
        plain = Checkpoints(checkpoints.folder, others, codec=checkpoints.files.get(CODEC))
        models = plain.models_for(required_checkpoint(record.name))
    changes = file_changes(models, record, part.path)
    return replace(found, happened=_happened(found, changes))


def _happened(found: Located, changes: Sequence[Change]) -> dict[str, str]:
    return {path: what_happened(changes, path) for path in found.localisation.culprits}


def locate(
    models: ModelSet, record: ComponentRecord, path: Path, inputs: Mapping[str, np.ndarray]
) -> Localisation:
    """Find the modules in which an export departs from its checkpoint on one input."""
    with reference_source(models, record, inputs) as source:
        return localise(source, walkable(GraphModules(path), record))


def _require_graph(component: str, asked: str) -> None:
    """Refuse what no file computes by itself."""
    wholes = [item for subject in SUBJECTS if subject.needs for item in subject.names]
    if component in wholes:
        raise InputError(
            f"{asked}: {component} is no file but several at work, so there are no modules to"
            f" walk; verify --component {component} says how the sides part, and what of it"
            " can be walked is walked by its own name, such as coarse"
        )
    whole = [item for subject in SUBJECTS if not subject.walks for item in subject.names]
    if component in whole:
        network = component.partition(".")[0]
        raise InputError(
            f"{asked}: {component} is one loop, of which nothing can be cut out; verify"
            f" --component {component} says how its file differs from what its checkpoint"
            f" gives; what is in the loop is walked by its own name: {network}, sampler"
        )


@contextmanager
def reference_source(
    models: ModelSet, record: ComponentRecord, inputs: Mapping[str, np.ndarray]
) -> Iterator[Source]:
    """Give the reference of a component as the side of a walk that is taken as right.

    What is built has no modules in PyTorch, and a form that rounds weights has none that
    compute the same: there it is what is made for the checkpoint now.
    """
    component = build_component(record.name, models, variant=record.variant)
    if isinstance(component, TracedComponent) and not component.form:
        left = partial(_left_by_passes, models, record)
        yield TorchSource(component.module.eval(), inputs, left)
        return
    with temporary_folder() as folder:
        path = Path(folder) / "made.onnx"
        made = exported_afresh(component, record, adaptable=False)
        save_graph(made.model, path)
        yield GraphSource(walkable(GraphModules(path), record), inputs, same_names=True)


def _located(
    part: ComponentFile,
    case: Case,
    source: Source,
    graph: GraphModules,
    unvouched: tuple[str, ...],
) -> Located:
    found, birth = localise(source, graph), find_birth(source, graph)
    return Located(part.record.id, found, birth, unvouched, case.id, runtime=part.runtime)


def _left_by_passes(models: ModelSet, record: ComponentRecord) -> frozenset[str]:
    """Return the modules that the passes leave; they fold the others into neighbours."""
    folded = build_component(record.name, models, variant=record.variant)
    assert isinstance(folded, TracedComponent)
    for item in folded.passes:
        item.call(folded.module)  # that they change no number was checked at export
    return frozenset(name for name, _ in folded.module.named_modules())


def _recorded_case(
    reference: RecordedReference, index: int, record: ComponentRecord, folder: Path
) -> Case:
    cases = {case.seed: case for case in reference.recorded_cases(record)}
    if index not in cases:
        raise InputError(
            f"{folder}: no recorded case {index} of {record.id}; --seed may be"
            f" {', '.join(map(str, cases))}"
        )
    return cases[index]


def recorded_source(
    reference: RecordedReference, case: Case, models: ModelSet, record: ComponentRecord
) -> RecordedSource:
    """Return what was recorded of a case as the side of a walk that is taken as right."""
    traced = build_component(record.name, models, variant=record.variant)
    assert isinstance(traced, TracedComponent)
    inputs, parts = reference.inputs(record, case), reference.parts(record, case)
    outputs = reference.run(record, case).outputs
    return RecordedSource(parts, inputs, outputs, traced.module.eval())
