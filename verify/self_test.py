"""The harness tried on itself: planted defects must be caught and named, sound exports pass.

Every defect of `verify.defects` is planted in an export of a small random set and put
through the default gates; then localisation is asked which module it is.  Sound exports of the
same set run over many seeds and must raise no alarm.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from configs.config import Gates, VerifySection, load_gates
from configs.manifest import ComponentRecord
from export.components import Component, build_component
from export.export_set import component_record
from export.exporter import DEFAULT_OPSET, export_component
from export.onnx_file import save_graph
from export.passes import run_module_passes
from export.passes.base import PassError
from models import ModelSet
from pipeline.session import Session
from reports import Verdict

from .cases import cases_for, make_inputs
from .component import check_component
from .defects import ALL_DEFECTS, Defect, GraphDefect, ModuleDefect
from .graph_modules import GraphModules
from .localise import localise
from .reference import Reference
from .run import signature_mismatches
from .trace import trace_module, trace_noise

# Enough to meet every defect: both sides of the traced size, past the bucket border, a batch.
MATRIX = VerifySection(seeds=[0, 1, 2], frames=[1, 13, 29, 150], batches=[1, 3], threads=0)

NO_MODULE = "(the whole file)"


@dataclass(frozen=True)
class Trial:
    """What became of one planted defect.

    Attributes:
        defect: its name.
        description: what it is.
        component: where it was planted.
        caught: whether a gate failed, or the exporter refused.
        gates: those that failed, or the exporter's words.
        culprit: module it was planted in.
        named: module that localisation named first; empty if it was not asked.
        right: whether that is the culprit.
    """

    defect: str
    description: str
    component: str
    caught: bool
    gates: tuple[str, ...]
    culprit: str
    named: str
    right: bool


@dataclass(frozen=True)
class SoundRuns:
    """Runs of sound exports.

    Attributes:
        runs: how many.
        alarms: cases that failed.
    """

    runs: int
    alarms: tuple[str, ...]


def run_defects(
    models: ModelSet,
    defects: Sequence[Defect] = ALL_DEFECTS,
    *,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Iterator[Trial]:
    """Plant every defect in turn.

    Args:
        models: a small set; left as it is.
        defects: what to plant.
        progress: told the defect, how many are done and how many there are.
    """
    gates = load_gates()
    for done, defect in enumerate(defects):
        progress(defect.name, done, len(defects))
        with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
            yield _try(defect, models, gates, Path(folder))
    progress("done", len(defects), len(defects))


def run_sound(
    models: ModelSet,
    components: Sequence[str],
    seeds: Sequence[int],
    *,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> SoundRuns:
    """Verify sound exports over many seeds.

    Args:
        models: a small set.
        components: by name.
        seeds: one run a seed and length.
        progress: told the component, cases done and cases in all.
    """
    gates = load_gates()
    matrix = VerifySection(seeds=list(seeds), frames=[7, 29], batches=[2], threads=0)
    runs, alarms = 0, list[str]()
    for name in components:
        with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
            record, path = _export(build_component(name, models), None, Path(folder))
            report = check_component(
                record,
                reference=Reference(models),
                export=Session(path).run,
                matrix=matrix,
                gates=gates,
                mismatches=[],
                progress=lambda done, total, name=name: progress(name, done, total),  # type: ignore
            )
        runs += len(report.cases)
        alarms += [case.id for case in report.cases if case.verdict is Verdict.FAIL]
        alarms += [f"{name}: {g.name}" for g in report.gates if g.verdict is Verdict.FAIL]
    return SoundRuns(runs, tuple(alarms))


def _try(defect: Defect, models: ModelSet, gates: Gates, folder: Path) -> Trial:
    component = build_component(defect.component, models)
    if isinstance(defect, ModuleDefect):
        defect.plant(component.module)
    culprit = defect.culprit or NO_MODULE
    try:
        record, path = _export(component, defect, folder)
    except PassError as error:
        refusal = (f"refused at export: {error}",)
        return Trial(
            defect.name, defect.description, defect.component, True, refusal, culprit, "", True
        )
    session = Session(path)
    report = check_component(
        record,
        reference=Reference(models),
        export=session.run,
        matrix=MATRIX,
        gates=gates,
        mismatches=signature_mismatches(record, session),
    )
    failed = tuple(gate.name for gate in report.gates if gate.verdict is Verdict.FAIL)
    named = _first_culprit(defect, models, record, path, report.cases) if failed else ""
    return Trial(
        defect=defect.name,
        description=defect.description,
        component=defect.component,
        caught=bool(failed),
        gates=failed,
        culprit=culprit,
        named=named,
        right=named == culprit,
    )


def _export(
    component: Component, defect: Defect | None, folder: Path
) -> tuple[ComponentRecord, Path]:
    with torch.no_grad():
        exported = export_component(component, opset=DEFAULT_OPSET)
    if isinstance(defect, GraphDefect):
        defect.plant(exported.model)
    path = folder / f"{component.id}.onnx"
    file, data = save_graph(exported.model, path)
    return component_record(exported, file, data), path


def _first_culprit(
    defect: Defect,
    models: ModelSet,
    record: ComponentRecord,
    path: Path,
    cases: Sequence[object],
) -> str:
    """Localise on the input of a case that failed."""
    failing = {getattr(c, "id", "") for c in cases if getattr(c, "verdict", "") == "FAIL"}
    chosen = [case for case in cases_for(record, MATRIX) if case.id in failing]
    if not chosen:
        return NO_MODULE
    inputs = make_inputs(min(chosen, key=lambda case: case.length * case.batch), record)
    return locate(models, record, path, inputs)[0]


def locate(
    models: ModelSet, record: ComponentRecord, path: Path, inputs: dict[str, np.ndarray]
) -> tuple[str, ...]:
    """Return the paths of the modules that introduce an error, the first one first."""
    sound = build_component(record.name, models, variant=record.variant).module.eval()
    single = trace_module(sound, inputs)
    folded = build_component(record.name, models, variant=record.variant)
    run_module_passes(folded.module, folded.passes, folded.example)
    expected = frozenset(path for path, _ in folded.module.named_modules())
    double = trace_module(copy.deepcopy(sound).double(), inputs)
    found = localise(single, GraphModules(path), inputs, trace_noise(single, double), expected)
    return tuple(name or NO_MODULE for name in found.culprits) or (NO_MODULE,)
