"""The harness tried on itself: planted defects must be caught and named, sound exports pass.

Every defect of `verify.defects` is planted in an export of a small random set and put
through the default gates; then localisation is asked which module it is.  Sound exports of the
same set run over many seeds and must raise no alarm.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from configs.config import Gates, VerifySection, load_gates
from configs.errors import InputError, nearest
from configs.manifest import ComponentRecord
from export.component import Component, TracedComponent
from export.components import build_component
from export.export_set import component_record
from export.exporter import DEFAULT_OPSET, export_component
from export.onnx_file import save_graph
from export.passes.base import PassError
from models import ModelSet
from pipeline.session import Session
from reports import DefectTrial, Verdict

from .cases import cases_for, make_inputs
from .component import check_component
from .defects import ALL_DEFECTS, Defect, GraphDefect, ModuleDefect
from .exported import signature_mismatches
from .locate import locate
from .reference import Reference
from .trace import ROOT

# Enough to meet every defect: both sides of the traced size, past the bucket border, a batch.
MATRIX = VerifySection(seeds=[0, 1, 2], frames=[1, 13, 29, 150], batches=[1, 3], threads=0)

_SOUND_FRAMES = [7, 29]

NO_MODULE = "(the whole file)"


def run_defects(
    models: ModelSet,
    defects: Sequence[Defect] = ALL_DEFECTS,
    *,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Iterator[DefectTrial]:
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
    *,
    runs: int,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> tuple[int, list[str]]:
    """Verify sound exports over many seeds.

    Args:
        models: a small set.
        components: by name.
        runs: how many in all; rounded up to whole seeds.
        progress: told the component, cases done and cases in all.

    Returns:
        How many runs there were, and what failed in them.
    """
    gates = load_gates()
    seeds = list(range(100, 100 + -(-runs // (len(_SOUND_FRAMES) * len(components)))))
    done_runs, alarms = 0, list[str]()
    for name in components if seeds else ():
        matrix = VerifySection(seeds=seeds, frames=_SOUND_FRAMES, batches=[2], threads=0)
        with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
            record, path = _export(build_component(name, models), None, Path(folder))
            report = check_component(
                record,
                reference=Reference(models),
                export=Session(path).run,
                matrix=matrix,
                gates=gates,
                mismatches=[],
                progress=partial(progress, f"sound {name}"),
            )
        done_runs += len(report.cases)
        alarms += [case.id for case in report.cases if case.verdict is Verdict.FAIL]
        alarms += [f"{name}: {g.name}" for g in report.gates if g.verdict is Verdict.FAIL]
    return done_runs, alarms


def chosen_defects(names: Sequence[str]) -> Sequence[Defect]:
    """Return the defects with these names, all of them for none.

    Raises:
        InputError: there is no such defect.
    """
    known = {defect.name: defect for defect in ALL_DEFECTS}
    for name in names:
        if name not in known:
            raise InputError(f"no defect {name!r}{nearest(name, list(known))}")
    return [known[name] for name in names] or ALL_DEFECTS


def _try(defect: Defect, models: ModelSet, gates: Gates, folder: Path) -> DefectTrial:
    component = build_component(defect.component, models)
    if isinstance(defect, ModuleDefect):
        assert isinstance(component, TracedComponent), f"{component.id} has no module"
        defect.plant(component.module)
    culprit = defect.culprit or NO_MODULE
    try:
        record, path = _export(component, defect, folder)
    except PassError as error:
        return DefectTrial(
            defect=defect.name,
            description=defect.description,
            component=defect.component,
            caught=True,
            gates=[f"refused at export: {error}"],
            culprit=culprit,
            named="",
            right=True,
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
    failed = [gate.name for gate in report.gates if gate.verdict is Verdict.FAIL]
    named = _first_culprit(defect, models, record, path, report.cases) if failed else ""
    return DefectTrial(
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
    found = locate(models, record, path, inputs)
    return (found.culprits or (ROOT,))[0] or NO_MODULE
