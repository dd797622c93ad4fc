"""Localisation of one component: the oracle traced, the export walked, NaN looked for."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component, required_checkpoint
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.verify.sides.export import require_same_sources
from vampnet_onnx.verify.sides.recorded import RecordedReference, RecordedSet
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of

from .graph import GraphModules
from .lane import GraphSource
from .nonfinite import Birth, find_birth
from .opened import OpenedComponent, open_component
from .recorded_source import RecordedSource
from .torch_source import Source, TorchSource
from .walk import Localisation, localise
from .walk_drawn import locate_drawn

_FRAMES = 23  # enough to see neighbours, few for any memory; prime, so no dimension is like it


@dataclass(frozen=True)
class Request:
    """What to walk.

    Attributes:
        artifacts: a version, a model or a store, or an ``.onnx`` file.
        new: a second one to compare with the first; None compares with the checkpoint.
        checkpoint: folder of the checkpoints; None when two graphs are compared.
        recorded: compare with what a recorded set in the checkpoint folder holds.
        component: with variant; None for coarse, or what the file holds.
        seed: of the input, or number of the recorded case.
        length: of the input in frames, or samples of audio; None for a default.
        batch: items of the input.
        lora: LoRA overlay by transformer.
        unsealed: accept files whose hash is wrong.
    """

    artifacts: Path
    new: Path | None
    checkpoint: Path | None
    recorded: bool
    component: str | None
    seed: int
    length: int | None
    batch: int
    lora: dict[str, Path]
    unsealed: bool


@dataclass(frozen=True)
class Located:
    """What a walk found.

    Attributes:
        component: with variant.
        localisation: module by module.
        birth: where non-finite values come from, if there are any.
        unvouched: files whose content no manifest vouches for.
        case: id of the input.
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


def run_request(request: Request) -> Located:
    """Open what a request names and walk it.

    Raises:
        InputError: something it names is not there or does not fit.
    """
    opened = open_component(
        request.artifacts, request.component, unsealed=request.unsealed, lora=request.lora
    )
    if request.new is not None:
        other = open_component(request.new, opened.record.id, unsealed=request.unsealed)
        case = _case(request, opened.record)
        old = GraphSource(opened.graph, subject_of(opened.record).inputs(opened.record, case))
        found = localise(old, other.graph), find_birth(old, other.graph)
        return _located(opened.record, found, (*opened.unvouched, *other.unvouched), case)
    if request.checkpoint is None:
        raise InputError("localise compares with a checkpoint or with a second file")
    needed = required_checkpoint(opened.record.name)
    lora = {name: path for name, path in request.lora.items() if name in needed}
    models = open_models(request.checkpoint, only=needed, lora=lora)
    require_same_sources(models, opened.sources, opened.path)
    if request.recorded:
        recorded, case = _recorded_source(request.checkpoint, request.seed, models, opened)
        found = localise(recorded, opened.graph), find_birth(recorded, opened.graph)
        return _located(opened.record, found, opened.unvouched, case)
    case = _case(request, opened.record)
    with reference_source(
        models, opened.record, subject_of(opened.record).inputs(opened.record, case)
    ) as source:
        found = walk(source, opened.graph), find_birth(source, opened.graph)
    return _located(opened.record, found, opened.unvouched, case)


def locate(
    models: ModelSet, record: ComponentRecord, path: Path, inputs: Mapping[str, np.ndarray]
) -> Localisation:
    """Find the modules in which an export departs from its checkpoint.

    Args:
        models: holds the checkpoint of the component.
        record: from the manifest.
        path: of the graph.
        inputs: arrays by input name.
    """
    with reference_source(models, record, inputs) as source:
        return walk(source, GraphModules(path))


def locate_between(old: Path, new: Path, inputs: Mapping[str, np.ndarray]) -> Localisation:
    """Find the modules in which one graph departs from another.

    Args:
        old: taken as right.
        new: walked.
        inputs: arrays by input name.
    """
    return localise(GraphSource(GraphModules(old), inputs), GraphModules(new))


@contextmanager
def reference_source(
    models: ModelSet, record: ComponentRecord, inputs: Mapping[str, np.ndarray]
) -> Iterator[Source]:
    """Give the reference of a component as the side of a walk that is taken as right.

    What is drawn has no modules in PyTorch: there it is what is drawn from the checkpoint now.

    Args:
        models: holds the checkpoint of the component.
        record: from the manifest.
        inputs: arrays by input name.
    """
    built = build_component(record.name, models, variant=record.variant)
    if isinstance(built, TracedComponent):
        left = partial(_left_by_passes, models, record)
        yield TorchSource(built.module.eval(), inputs, left)
        return
    with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
        path = Path(folder) / "drawn.onnx"
        save_graph(export_component(built, opset=record.opset).model, path)
        yield GraphSource(GraphModules(path), inputs)


def walk(source: Source, graph: GraphModules) -> Localisation:
    """Walk an export beside its reference, which for what is drawn is a graph itself.

    Args:
        source: from `reference_source`.
        graph: the export.
    """
    if isinstance(source, GraphSource):
        return locate_drawn(source, graph)
    return localise(source, graph)


def _left_by_passes(models: ModelSet, record: ComponentRecord) -> frozenset[str]:
    """Return the modules that the passes leave; they fold the others into neighbours."""
    folded = build_component(record.name, models, variant=record.variant)
    assert isinstance(folded, TracedComponent)
    for item in folded.passes:
        item.call(folded.module)  # that they change no number was checked at export
    return frozenset(name for name, _ in folded.module.named_modules())


def _located(
    record: ComponentRecord,
    found: tuple[Localisation, Birth],
    unvouched: tuple[str, ...],
    case: Case,
) -> Located:
    return Located(record.id, *found, unvouched, case.id)


def _recorded_source(
    folder: Path, index: int, models: ModelSet, opened: OpenedComponent
) -> tuple[RecordedSource, Case]:
    recorded, record = RecordedSet(folder), opened.record
    reference = RecordedReference(recorded, models)
    cases = {case.seed: case for case in reference.recorded_cases(record)}
    if index not in cases:
        raise InputError(
            f"{folder}: no recorded case {index} of {record.id}; --seed may be"
            f" {', '.join(map(str, cases))}"
        )
    built = build_component(record.name, models, variant=record.variant)
    assert isinstance(built, TracedComponent)
    case = cases[index]
    inputs, parts = reference.inputs(record, case), reference.parts(record, case)
    outputs = reference.run(record, case).outputs
    return RecordedSource(parts, inputs, outputs, built.module.eval()), case


def _case(request: Request, record: ComponentRecord) -> Case:
    return subject_of(record).one_case(
        record,
        seed=request.seed,
        batch=request.batch,
        frames=_FRAMES,
        length=request.length,
    )
