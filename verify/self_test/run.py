"""The harness tried on itself: planted defects must be caught and named, sound exports pass.

Every defect of `verify.self_test.defects` is planted in an export of a small random set and
put through the default gates; then localisation is asked which module it is.  Sound exports of
the same set run over many seeds and must raise no alarm.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch

from vampnet_onnx.configs.config import Gates, VerifySection, load_gates
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, nearest
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.interrupts import Interrupted, dealt_with
from vampnet_onnx.configs.machine import cores
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import COMPONENTS, build_component
from vampnet_onnx.export.export_set import component_record
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.export.passes.base import PassError
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.pipeline.version.session import Session
from vampnet_onnx.reports import Case as CaseReport
from vampnet_onnx.reports import DefectTrial, SelfTest, Verdict
from vampnet_onnx.verify.causes.locate import locate
from vampnet_onnx.verify.gates.audit import Origin, audit
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.gates.measured import Measured
from vampnet_onnx.verify.gates.modules import modules
from vampnet_onnx.verify.gates.overflow import overflow
from vampnet_onnx.verify.gates.processes import start_process
from vampnet_onnx.verify.localisation.source import ROOT
from vampnet_onnx.verify.sides.export import signature_mismatches
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Arrays, Case
from vampnet_onnx.verify.subjects.registry import subject_of

from .defects import Defect, FileDefect, GraphDefect, ModuleDefect, all_defects

# Enough to meet every defect: both sides of the traced size, past the bucket border, a batch.
MATRIX = VerifySection(seeds=[0, 1], frames=[1, 13, 29, 150], batches=[1, 3], threads=0)

_SOUND_FRAMES = [7, 29]
_SOUND_WALKS = 6
_FIRST_SEED = 100  # none of those that defects are tried with

NO_MODULE = "(the whole file)"


def export_with(
    models: ModelSet, component: str, folder: Path, defects: Sequence[Defect] = ()
) -> tuple[ComponentRecord, Path]:
    """Export a component with defects planted in it; the models are left as they are.

    Args:
        component: to export, with variant.

    Raises:
        PassError: the exporter refuses what was planted.
    """
    name, _, variant = component.partition(".")
    built = build_component(name, models, variant=variant)
    for defect in defects:
        if isinstance(defect, ModuleDefect):
            assert isinstance(built, TracedComponent), f"{component} has no module"
            defect.plant(built.module)
    with torch.no_grad():
        exported = export_component(built)
    for defect in defects:
        if isinstance(defect, GraphDefect):
            defect.plant(exported.model)
    path = folder / f"{component}.onnx"
    return component_record(exported, *save_graph(exported.model, path)), path


def run_defect(models: ModelSet, defect: Defect) -> DefectTrial:
    """Plant a defect, put it through the gates and ask which module it is."""
    trial = DefectTrial(
        defect=defect.name,
        description=defect.description,
        component=defect.component,
        caught=True,
        gates=[],
        culprit=defect.culprit or NO_MODULE,
        named="",
        right=True,
    )
    with temporary_folder() as folder:
        try:
            record, path = export_with(models, defect.component, Path(folder), [defect])
        except PassError as error:
            return trial.model_copy(update={"gates": [f"refused at export: {error}"]})
        session = Session(path)
        mismatches = signature_mismatches(record, session)
        sides = Sides(record, Reference(models), session.run, mismatches)
        gates = load_gates()
        # What is planted in a module stands for a mistake of the exporter: a fresh export
        # would have it, too.
        of_file = {}
        if isinstance(defect, FileDefect):
            of_file = _of_file(models, record, path, gates)
        report = check_component(sides, matrix=MATRIX, gates=gates, of_file=of_file)
        failed = [gate.name for gate in report.gates if gate.verdict is Verdict.FAIL]
        named = _first_culprit(models, record, path, report.cases) if failed else ""
        if named == NO_MODULE:
            named = next((m.modules[0] for m in of_file.values() if m.modules), named)
    found = {"caught": bool(failed), "gates": failed, "named": named}
    right = named in (trial.culprit, *defect.also)
    return trial.model_copy(update={**found, "right": right})


def run_sound(models: ModelSet, component: str, *, runs: int) -> tuple[int, list[str]]:
    """Verify a sound export over many seeds, and walk it for some.

    Args:
        models: a small set.
        runs: how many; rounded up to whole seeds.

    Returns:
        How many runs there were, and what was raised in them.
    """
    with temporary_folder() as folder:
        record, path = export_with(models, component, Path(folder))
        matrix = VerifySection(seeds=[0], frames=_SOUND_FRAMES, batches=[2], threads=0)
        subject = subject_of(record)
        seeds = -(-runs // len(subject.cases(record, matrix)))
        chosen = list(range(_FIRST_SEED, _FIRST_SEED + seeds))
        matrix = matrix.model_copy(update={"seeds": chosen})
        sides = Sides(record, Reference(models), Session(path).run)
        gates = load_gates()
        of_file = _of_file(models, record, path, gates)
        report = check_component(sides, matrix=matrix, gates=gates, of_file=of_file)
        walked = subject.cases(record, matrix)[: _SOUND_WALKS if subject.walks else 0]
        named = [
            f"{case.id}: {found.culprits[0] or NO_MODULE} was named"
            for case in walked
            if (found := locate(models, record, path, subject.inputs(record, case))).culprits
        ]
    alarms = [case.id for case in report.cases if case.verdict is Verdict.FAIL]
    alarms += [
        f"{component}: {gate.name}: {gate.message}"
        for gate in report.gates
        if gate.verdict is Verdict.FAIL
    ]
    return len(report.cases) + len(walked), alarms + named


def run_self_test(
    checkpoint: Path,
    defects: Sequence[Defect],
    *,
    runs: int,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> SelfTest:
    """Try defects and sound exports, with a process for every core.

    Args:
        checkpoint: folder of a small set.
        runs: of sound exports in all, rounded up.
        progress: told what is at work, how much is done and how much there is.

    Returns:
        What was found; of an interrupt, what was found until then.

    Raises:
        EnvironmentLacksError: a process was killed.
    """
    jobs = cores()
    tried = list(dict.fromkeys([*COMPONENTS, *(defect.component for defect in all_defects())]))
    each = -(-runs // len(tried))
    # Spawned, not forked: the runtimes' threads do not survive a fork.
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), start_process, (1,))
    try:
        trials = [pool.submit(_trial, checkpoint, defect.name) for defect in defects]
        sound = [pool.submit(_sound, checkpoint, name, each) for name in tried if each]
        for i, trial in enumerate(trials):
            progress("defects", i, len(trials))
            trial.result()
        for i, run in enumerate(sound):
            progress("sound exports", i, len(sound))
            run.result()
    except Interrupted:
        dealt_with()
    except BrokenProcessPool as error:
        raise EnvironmentLacksError(
            f"one of {jobs} processes that tried defects was killed, perhaps for want of"
            " memory"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
    checked = [run.result() for run in sound if not run.cancelled()]
    return SelfTest(
        trials=[trial.result() for trial in trials if not trial.cancelled()],
        sound_runs=sum(count for count, _ in checked),
        alarms=[alarm for _, alarms in checked for alarm in alarms],
        unfinished=sum(trial.cancelled() for trial in trials)
        + sum(run.cancelled() for run in sound),
    )


def chosen_defects(names: Sequence[str]) -> list[Defect]:
    """Return the defects with these names, all of them for none.

    Raises:
        InputError: there is no such defect.
    """
    known = {defect.name: defect for defect in all_defects()}
    for name in names:
        if name not in known:
            raise InputError(
                f"no defect {name!r}{nearest(name, list(known))}; there are {', '.join(known)}"
            )
    return [known[name] for name in names or known]


def _start() -> None:
    # An interrupt reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


_opened = cache(open_models)  # once a process


def _trial(checkpoint: Path, name: str) -> DefectTrial:
    return run_defect(_opened(checkpoint), *chosen_defects([name]))


def _sound(checkpoint: Path, component: str, runs: int) -> tuple[int, list[str]]:
    return run_sound(_opened(checkpoint), component, runs=runs)


def _of_file(
    models: ModelSet, record: ComponentRecord, path: Path, gates: Gates
) -> dict[str, Measured]:
    """Measure a file that the same source and tools made."""
    measures: dict[str, Callable[[], Measured]] = {
        "modules": lambda: modules(models, record, path, gates.modules),
        "audit": lambda: audit(models, record, path, gates.audit, origin=Origin()),
        "overflow": lambda: overflow(path, _inputs(record)),
    }
    asked = gates.for_component(record.name, record.variant)
    return {name: measure() for name, measure in measures.items() if name in asked}


def _inputs(record: ComponentRecord) -> Iterator[Arrays]:
    subject = subject_of(record)
    return (subject.inputs(record, case) for case in subject.cases(record, MATRIX))


def _first_culprit(
    models: ModelSet, record: ComponentRecord, path: Path, reports: Sequence[CaseReport]
) -> str:
    """Localise on the input of the smallest case that failed, by its id as a person would."""
    failing = [Case.parse(case.id) for case in reports if case.verdict is Verdict.FAIL]
    if not failing:
        return NO_MODULE
    if not subject_of(record).walks:
        return NO_MODULE
    smallest = min(failing, key=lambda case: case.length * case.batch)
    inputs = subject_of(record).inputs(record, smallest)
    return (locate(models, record, path, inputs).culprits or (ROOT,))[0] or NO_MODULE
