"""Localisation of one component: its files opened, both sides walked, NaN looked for."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component, required_checkpoint
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.export.options import Files, lora_overlays
from vampnet_onnx.models import Checkpoints, ModelSet
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

from .component_file import open_component

_FRAMES = 23  # enough to see neighbours, few for any memory; prime, so no dimension is like it


@dataclass(frozen=True)
class Located:
    """What a walk found.

    Attributes:
        component: with variant.
        birth: where non-finite values come from, if there are any.
        unvouched: files whose content no manifest vouches for.
    """

    component: str
    localisation: Localisation
    birth: Birth
    unvouched: tuple[str, ...]
    case: str

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

    Raises:
        InputError: something named is not there or does not fit.
    """
    if (checkpoint is None) == (new is None):
        raise InputError("give --checkpoint DIR, or a second version to compare with")
    if reference == "golden" and (checkpoint is None or length is not None):
        raise InputError(
            "--reference golden takes the inputs of the recorded set in --checkpoint DIR, so"
            " no --length"
        )
    asked = Case.parse(case) if case is not None else None
    if asked is not None:
        if component not in (None, asked.component):
            raise InputError(f"{case} is no case of {component}; leave --component out")
        _require_graph(asked)
        component = asked.component
    if isinstance(artifacts, Artifacts):
        unsealed = unsealed or bool(artifacts.changed)
        artifacts = artifacts.folder
    folder = Path(checkpoint) if checkpoint is not None else None
    overlays = lora_overlays(lora, folder)
    opened = open_component(Path(artifacts), component, unsealed=unsealed, lora=overlays)
    record, graph, unvouched = opened.record, opened.graph, opened.unvouched
    if asked is not None:
        subject_of(record).require(record, asked)
    walked = asked or subject_of(record).one_case(
        record, seed=seed, batch=batch, frames=_FRAMES, length=length
    )
    if folder is None:
        assert new is not None
        other = open_component(Path(new), record.id, unsealed=unsealed)
        old = GraphSource(graph, subject_of(record).inputs(record, walked))
        return _located(record, walked, old, other.graph, (*unvouched, *other.unvouched))
    own_codec = Path(codec) if codec is not None else None
    checkpoints = Checkpoints(folder, overlays, codec=own_codec)
    models = checkpoints.models_for(required_checkpoint(record.name))
    require_same_sources(models, opened.sources, opened.path)
    if reference == "golden":
        recorded = RecordedReference(RecordedSet(folder), models)
        if asked is None:
            asked = _recorded_case(recorded, seed, record, folder)
        recorded.require(record, asked)
        source = recorded_source(recorded, asked, models, record)
        return _located(record, asked, source, graph, unvouched)
    inputs = subject_of(record).inputs(record, walked)
    with reference_source(models, record, inputs) as right:
        return _located(record, walked, right, graph, unvouched)


def locate(
    models: ModelSet, record: ComponentRecord, path: Path, inputs: Mapping[str, np.ndarray]
) -> Localisation:
    """Find the modules in which an export departs from its checkpoint on one input."""
    with reference_source(models, record, inputs) as source:
        return localise(source, GraphModules(path))


def _require_graph(case: Case) -> None:
    """Refuse a case of what no file computes by itself."""
    name = case.component.partition(".")[0]
    wholes = [item for subject in SUBJECTS if subject.needs for item in subject.names]
    if name in wholes:
        raise InputError(
            f"{case.id}: {name} is no file but several at work, so there are no modules to"
            " walk; verify --case says at which step the sides part"
        )


@contextmanager
def reference_source(
    models: ModelSet, record: ComponentRecord, inputs: Mapping[str, np.ndarray]
) -> Iterator[Source]:
    """Give the reference of a component as the side of a walk that is taken as right.

    What is built has no modules in PyTorch: there it is what is built for the checkpoint now.
    """
    component = build_component(record.name, models, variant=record.variant)
    if isinstance(component, TracedComponent):
        left = partial(_left_by_passes, models, record)
        yield TorchSource(component.module.eval(), inputs, left)
        return
    with temporary_folder() as folder:
        path = Path(folder) / "built.onnx"
        save_graph(export_component(component, opset=record.opset).model, path)
        yield GraphSource(GraphModules(path), inputs, same_names=True)


def _located(
    record: ComponentRecord,
    case: Case,
    source: Source,
    graph: GraphModules,
    unvouched: tuple[str, ...],
) -> Located:
    found, birth = localise(source, graph), find_birth(source, graph)
    return Located(record.id, found, birth, unvouched, case.id)


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
