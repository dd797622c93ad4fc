"""Localisation of one component: the oracle traced, the export walked, NaN looked for."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from configs.config import VerifySection
from configs.errors import InputError
from configs.manifest import ComponentRecord
from export.component import TracedComponent
from export.components import build_component, required_checkpoint
from export.exporter import export_component
from export.onnx_file import save_graph
from export.passes import run_module_passes
from models import ModelSet, open_models
from pipeline.artifacts import Artifacts, open_artifacts

from .cases import Case, cases_for, make_inputs
from .drawn_cases import DRAWN
from .forensics import Birth, find_birth
from .graph_modules import GraphModules
from .localise import Localisation, localise
from .locate_drawn import locate_drawn
from .trace import Trace, trace_module, trace_noise

_FRAMES = 24  # enough for every module to see its neighbours, few enough for any memory


@dataclass(frozen=True)
class Request:
    """What to walk.

    Attributes:
        artifacts: a version, a model or a store.
        new: a second version to compare with the first; None compares with the checkpoint.
        checkpoint: folder of the checkpoints; None when two versions are compared.
        component: with variant.
        seed: of the input.
        length: of the input in frames, or samples of audio; None for a default.
        batch: items of the input.
        unsealed: accept files whose hash is wrong.
    """

    artifacts: Path
    new: Path | None
    checkpoint: Path | None
    component: str
    seed: int
    length: int | None
    batch: int
    unsealed: bool


@dataclass(frozen=True)
class Located:
    """What a walk found.

    Attributes:
        localisation: module by module.
        birth: where non-finite values come from, if there are any.
        changed: files whose content the manifest does not vouch for.
        case: id of the input.
    """

    localisation: Localisation
    birth: Birth
    changed: tuple[str, ...]
    case: str


def run_request(request: Request) -> Located:
    """Open what a request names and walk it.

    Raises:
        InputError: something it names is not there or does not fit.
    """
    opened = open_artifacts(request.artifacts, unsealed=request.unsealed)
    record = _record(opened, request.component)
    case = _case(request, record)
    inputs = make_inputs(case, record)
    if request.new is not None:
        other = open_artifacts(request.new, unsealed=request.unsealed)
        path = other.path(_record(other, request.component))
        found = locate_between(opened.path(record), path, inputs)
        reference, _ = GraphModules(opened.path(record)).trace(inputs)
        changed = (*opened.changed, *other.changed)
        birth = find_birth(reference, GraphModules(path), inputs)
        return Located(found, birth, changed, case.id)
    if request.checkpoint is None:
        raise InputError("localise compares with a checkpoint or with a second version")
    models = open_models(request.checkpoint, only=required_checkpoint(record.name))
    path = opened.path(record)
    reference = _reference_trace(models, record, inputs)
    birth = find_birth(reference, GraphModules(path), inputs)
    return Located(locate(models, record, path, inputs), birth, opened.changed, case.id)


def locate(
    models: ModelSet, record: ComponentRecord, path: Path, inputs: Mapping[str, np.ndarray]
) -> Localisation:
    """Find the modules in which an export departs from its checkpoint.

    What is drawn has no modules in PyTorch; it is compared with what is drawn from the
    checkpoint now, scope by scope.

    Args:
        models: holds the checkpoint of the component.
        record: from the manifest.
        path: of the graph.
        inputs: arrays by input name.
    """
    built = build_component(record.name, models, variant=record.variant)
    if not isinstance(built, TracedComponent):
        with _drawn_now(models, record) as sound_file:
            return locate_drawn(GraphModules(sound_file), GraphModules(path), inputs)
    sound = built.module.eval()
    single = trace_module(sound, inputs)
    double = trace_module(copy.deepcopy(sound).double(), inputs)
    folded = build_component(record.name, models, variant=record.variant)
    assert isinstance(folded, TracedComponent)
    run_module_passes(folded.module, folded.passes, folded.example)
    expected = frozenset(name for name, _ in folded.module.named_modules())
    return localise(single, GraphModules(path), inputs, trace_noise(single, double), expected)


def locate_between(old: Path, new: Path, inputs: Mapping[str, np.ndarray]) -> Localisation:
    """Find the modules in which one graph departs from another.

    Args:
        old: taken as right.
        new: walked.
        inputs: arrays by input name.

    Raises:
        InputError: the old graph does not run on the inputs.
    """
    reference, _ = GraphModules(old).trace(inputs)
    if not reference.modules[""].outputs:
        raise InputError(f"{old}: does not run on the inputs of the case")
    kept = Trace({path: io for path, io in reference.modules.items() if io.outputs})
    return localise(kept, GraphModules(new), inputs, {}, frozenset(kept.modules))


def _reference_trace(
    models: ModelSet, record: ComponentRecord, inputs: Mapping[str, np.ndarray]
) -> Trace:
    built = build_component(record.name, models, variant=record.variant)
    if isinstance(built, TracedComponent):
        return trace_module(built.module.eval(), inputs)
    with _drawn_now(models, record) as sound_file:
        return GraphModules(sound_file).trace(inputs)[0]


@contextmanager
def _drawn_now(models: ModelSet, record: ComponentRecord) -> Iterator[Path]:
    """Give a file of the component as it is drawn from the checkpoint now."""
    built = build_component(record.name, models, variant=record.variant)
    with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
        path = Path(folder) / "drawn.onnx"
        save_graph(export_component(built, opset=record.opset).model, path)
        yield path


def _record(artifacts: Artifacts, component: str) -> ComponentRecord:
    record = artifacts.manifest.component(component)
    if record is None:
        known = ", ".join(item.id for item in artifacts.manifest.components)
        raise InputError(f"{artifacts.folder}: no component {component!r}; there are {known}")
    return record


def _case(request: Request, record: ComponentRecord) -> Case:
    if record.name in DRAWN:
        return _drawn_case(request, record)
    dims = record.dims
    books = dims["n_codebooks"] if record.name == "codec_decoder" else 0
    hop = int(np.prod(dims["decoder_rates"])) if record.name == "codec_encoder" else 1
    length = request.length or _FRAMES * hop
    assert isinstance(books, int)
    return Case(record.id, request.seed, request.batch, length, books)


def _drawn_case(request: Request, record: ComponentRecord) -> Case:
    """Return the last case that verification makes of a seed, at another length if asked."""
    frames = [request.length or _FRAMES]
    matrix = VerifySection(
        seeds=[request.seed], frames=frames, batches=[request.batch], threads=0
    )
    case = cases_for(record, matrix)[-1]
    return case if request.length is None else replace(case, length=request.length)
