"""The execution matrix: the same few cases on every runtime, against one reference.

A row is a component, or a whole generation; a column is a runtime (`verify.sides.runtimes`).
Each cell is judged by the gates of its component: whole numbers by the tie rule, floats by
their limits.  What a runtime cannot load or run is a failure, unless `configs/runtimes.toml`
declares the cell, and a declared cell that holds its gates is one, too.  It is a sample that
verifies runtimes: a few cases, without audit and modules, verify no file.
"""

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates, VerifySection
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.external_data import require_own_data
from vampnet_onnx.configs.interrupts import Interrupted, dealt_with
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.matrix import Declared, MatrixPlan
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.configs.verification import read_verification
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.pipeline.version.session import Opened, open_session
from vampnet_onnx.reports import (
    Cause,
    Component,
    Report,
    RuntimeColumn,
    Runtimes,
    UnsupportedCell,
    Verdict,
)
from vampnet_onnx.reports.summary import counted

from .causes.elsewhere import parts_opened_by
from .causes.find import Suspect, consequence_of, find_cause
from .causes.refused import refused_node
from .gates.case import judge
from .gates.component import check_outcomes
from .gates.report import build_report
from .sides.export import signature_mismatches
from .sides.kept import Remembered
from .sides.models import Reference
from .sides.oracle import Sides
from .sides.runtimes.backend import Backend, Running
from .subjects.case import Arrays, Case, RunExport
from .subjects.registry import subject_of
from .verification import Progress, checkpoints_of, chosen_records, require_made_from

_LONGEST_SAID = 600  # letters
USUAL = "default"
"""The runtime that others are laid to: what fails there fails of the file."""


def verify_on_runtimes(
    artifacts: Artifacts,
    checkpoints: Checkpoints,
    *,
    backends: Sequence[Backend],
    plan: MatrixPlan,
    matrix: VerifySection,
    gates: Gates,
    toolchain: dict[str, str],
    given: Given,
    only: tuple[str, ...] = (),
    cases: Sequence[Case] = (),
    localise_seconds: float | None = None,
    progress: Progress,
) -> Report:
    """Run the matrix.

    The reference computes a case once for all runtimes.  All cases of a cell run before any
    is judged, so that a runtime that hands out one buffer twice is seen.

    Args:
        backends: the columns; one that is not installed is skipped, and the report says what
            installs it.
        plan: what is declared, and limits of runtimes.
        only: rows; empty for all.
        cases: to run instead of the matrix's.
        localise_seconds: look into every cell that fails, so long at most; None does not.

    Raises:
        InputError: artifacts, checkpoints and rows do not fit each other.
        EnvironmentLacksError: none of the runtimes is installed.
    """
    if checkpoints.lora and artifacts.manifest.adapters:
        raise InputError(
            "--runtimes runs every file as it is, and not every runtime switches adapters:"
            " leave --lora out, or merge it at export (without --lora-adapters)"
        )
    only = only or tuple(dict.fromkeys(case.component for case in cases))
    records = chosen_records(artifacts, checkpoints, only)
    # Forms by what is heard of them: that says nothing of a runtime and takes minutes.
    heard = [record.id for record in records if subject_of(record).shares_reference]
    records = [record for record in records if record.id not in heard]
    verified = not artifacts.changed and read_verification(artifacts.folder) is not None
    components, unsupported = list[Component](), list[UnsupportedCell]()
    unfinished = list[str]()
    with ExitStack() as stack:
        columns, running = _started(backends, matrix.threads, stack)
        run = _Matrix(artifacts, plan, gates, given, localise_seconds, matrix.threads, running)
        for done, record in enumerate(records):
            try:
                models = checkpoints.models_for(
                    checkpoints_of(record, artifacts.manifest), merged=True
                )
                require_made_from(models, artifacts, record)
                reference = Remembered(Reference(models))
                own = [case for case in cases if case.component == record.id]
                for case in own:
                    reference.require(record, case)
                row = _Row(record, models, reference, own or reference.cases(record, matrix))
                for at, name in enumerate(running):
                    progress(
                        f"{record.id} on {name}",
                        done * len(running) + at,
                        len(records) * len(running),
                    )
                    found = run.cell(row, name, components)
                    if isinstance(found, UnsupportedCell):
                        unsupported.append(found)
                    else:
                        components.append(found)
            except Interrupted:
                if not components:
                    raise
                dealt_with()
                unfinished = [record.id for record in records[done:]]
                break
    if not components:
        raise InputError(
            "nothing to compare: every cell that was asked for is declared not to run, in"
            " configs/runtimes.toml"
        )
    report = build_report(
        artifacts,
        components,
        Reference.description,
        [
            f"{name} has no row: what is heard of a form says nothing of a runtime"
            for name in heard
        ]
        + [
            f"skipped: {column.name}: {column.skipped}" for column in columns if column.skipped
        ],
        matrix=matrix,
        toolchain=toolchain,
        given=given,
        unfinished=unfinished,
    )
    runtimes = Runtimes(
        columns=columns,
        rows=[record.id for record in records],
        unsupported=unsupported,
        verify_first="" if verified else given.command("verify"),
    )
    line = _verdict_line(report, runtimes)
    return report.model_copy(update={"runtimes": runtimes, "verdict_line": line})


@dataclass(frozen=True)
class _Row:
    """A component, or a whole, with what the reference makes of it."""

    record: ComponentRecord
    models: ModelSet
    reference: Remembered
    cases: Sequence[Case]


@dataclass(frozen=True)
class _Matrix:
    """What is the same for every cell; see `verify_on_runtimes`."""

    artifacts: Artifacts
    plan: MatrixPlan
    gates: Gates
    given: Given
    localise_seconds: float | None
    threads: int
    running: Mapping[str, Running]

    def cell(
        self, row: _Row, name: str, earlier: Sequence[Component]
    ) -> Component | UnsupportedCell:
        """Return what is found in a cell; of one declared not to run, that it does not.

        Args:
            earlier: cells that were judged before.
        """
        started = time.monotonic()
        found, said = self._judged(row, name)
        declared = self._declared(name, row.record)
        if declared is not None and said and re.search(declared.error, said):
            return UnsupportedCell(
                component=row.record.id,
                runtime=name,
                reason=declared.reason,
                said=_shortened(said),
            )
        if declared is not None:
            wrong = (
                f"it fails of something else than {declared.error!r}: {_shortened(said)}"
                if found.verdict is Verdict.FAIL
                else "it runs and holds its gates; take it out of there"
            )
            cause = Cause(
                component=found.id,
                what=f"declared not to run, in configs/runtimes.toml, but {wrong}",
                command=self._again(row, name, found),
            )
            found = found.model_copy(update={"verdict": Verdict.FAIL, "causes": [cause]})
        elif found.verdict is Verdict.FAIL:
            causes = [self._cause(row, name, found, said, earlier)]
            found = found.model_copy(update={"causes": causes})
        spent = round(time.monotonic() - started, 3)
        return found.model_copy(update={"seconds": spent})

    def _judged(self, row: _Row, name: str) -> tuple[Component, str]:
        """Run the cases of a cell and judge them.

        Returns:
            What was found, and what the runtime said if it does not load or run the file.
        """
        record, reference = row.record, row.reference
        cell: dict[str, object] = {"runtime": name}
        try:
            export, mismatches = self._opened(record, name)
        except InputError as error:
            bare = Component(
                name=record.name,
                variant=record.variant,
                file=record.file.name,
                sha256=record.file.sha256,
                verdict=Verdict.FAIL,
                gates=[],
                cases=[],
                metrics={},
            )
            return bare.model_copy(update=cell), _words(error)
        said, ran = "", list[tuple[Case, Arrays | Exception]]()
        for case in row.cases:
            try:
                ran.append((case, export(reference.inputs(record, case))))
            except Exception as error:  # a runtime's errors share no other base
                said = said or _words(error)
                ran.append((case, error))
        sides = Sides(record, reference, export, mismatches)
        gates = self.plan.gates_of(name, self.gates)
        outcomes = [
            judge(
                case,
                sides,
                gates,
                partial(reference.run, record, case),
                partial(_returned, arrays),
            )
            for case, arrays in ran
        ]
        found = check_outcomes(sides, outcomes, gates)
        if found.verdict is not Verdict.FAIL:  # figures are for what went wrong
            cell |= {"heat_map": None, "scatter": None}
        return found.model_copy(update=cell), said

    def _opened(self, record: ComponentRecord, name: str) -> tuple[RunExport, list[str]]:
        """Return what runs a component on a runtime, and how its signature differs."""
        if subject_of(record).needs:
            whole = subject_of(record).run_whole(
                self.artifacts,
                record,
                (),
                Runtime(threads=1),  # windows in turn: not every runtime is called at once
                opened_by=partial(self._part, name),
            )
            return whole, []
        session = self._graph(record, name)
        return session.run, signature_mismatches(record, session)

    def _declared(self, name: str, record: ComponentRecord) -> Declared | None:
        return self.plan.declared(name, self.running[name].version, record)

    def _graph(self, record: ComponentRecord, name: str) -> Opened:
        path = self.artifacts.path(record)
        with self.artifacts.sealed(*record.files):
            require_own_data(record, path)
            return self.running[name].open(path)

    def _part(self, name: str, record: ComponentRecord) -> Opened:
        """Open a part of a whole; what is declared not to run there runs as usual."""
        if self._declared(name, record):
            return open_session(self.artifacts, record, Runtime(threads=self.threads))
        return self._graph(record, name)

    def _cause(
        self, row: _Row, name: str, found: Component, said: str, earlier: Sequence[Component]
    ) -> Cause:
        """Return why a cell failed: of the file, of a part, of a node, or of a module."""
        record, again = row.record, self._again(row, name, found)
        parts = {part.id for part in subject_of(record).parts(record, self.artifacts.manifest)}
        if subject_of(record).needs:
            there = [c for c in earlier if c.runtime == name and c.file_id in parts]
            cause = consequence_of(found, [c.id for c in there], there, self.given)
            what = _shortened(said) or cause.what
            return cause.model_copy(update={"what": what, "command": again})
        usual = [c for c in earlier if c.runtime == USUAL and c.file_id == record.id]
        if usual and usual[0].verdict is Verdict.FAIL:
            return Cause(
                component=found.id,
                case=found.worst_case,
                what="the file itself is wrong",
                consequence_of=usual[0].id,
                command=again,
            )
        path, opens = self.artifacts.path(record), self.running[name].open
        if said:
            inputs = row.reference.inputs(record, row.cases[0])
            node = refused_node(path, said, opens, inputs)
            return Cause(
                component=found.id,
                module=node.module if node else "",
                node=node.name if node else "",
                operator=node.operator if node else "",
                what=_shortened(said),
                command=again,
            )
        if self.localise_seconds is None:
            return Cause(component=found.id, case=found.worst_case, command=again)
        suspect = Suspect(
            self.artifacts,
            record,
            row.reference,
            row.models,
            lambda: row.models,
            elsewhere=parts_opened_by(
                lambda file, _sample: opens(file),
                path.name,
                f"does not run on {name}",
                "where it departs is not known",
            ),
        )
        cause = find_cause(found, suspect, self.given, self.localise_seconds)
        return cause.model_copy(update={"component": found.id, "command": again})

    def _again(self, row: _Row, name: str, found: Component) -> str:
        which = ("--component", row.record.id)
        if found.worst_case:
            which = ("--case", found.worst_case)
        return self.given.command("verify", "--runtimes", name, *which)


def _started(
    backends: Sequence[Backend], threads: int, stack: ExitStack
) -> tuple[list[RuntimeColumn], dict[str, Running]]:
    """Start what is installed."""
    columns, running = list[RuntimeColumn](), dict[str, Running]()
    for backend in backends:
        skipped = backend.lacks()
        if not skipped:
            running[backend.name] = stack.enter_context(backend.start(threads))
        what = "" if skipped else running[backend.name].what
        columns.append(RuntimeColumn(name=backend.name, what=what, skipped=skipped))
    if not running:
        raise EnvironmentLacksError(
            "none of the runtimes is installed: "
            + "; ".join(f"{column.name}: {column.skipped}" for column in columns)
        )
    return columns, running


def _shortened(text: str) -> str:
    """Return the beginning and the end of what a runtime said, where it quotes itself."""
    half = _LONGEST_SAID // 2
    return text if len(text) <= 2 * half else f"{text[:half]} … {text[-half:]}"


def _words(error: BaseException) -> str:
    """Return all that a runtime said: what names the node may be at its end."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def _returned(arrays: Arrays | Exception) -> Arrays:
    """Return arrays, or raise what came in their place."""
    if isinstance(arrays, Exception):
        raise arrays
    return arrays


def _verdict_line(report: Report, runtimes: Runtimes) -> str:
    """Return the verdict in one sentence."""
    ran = [column.name for column in runtimes.columns if not column.skipped]
    skipped = [column.name for column in runtimes.columns if column.skipped]
    cells, count = report.components, len(runtimes.rows)
    cases = sum(cell.cases_ran for cell in cells)
    failed = [cell.id for cell in cells if cell.verdict is Verdict.FAIL]
    sample = len({case.id for cell in cells for case in cell.cases})
    line = (
        f"{report.verdict}: a sample of {counted(sample, 'case')} that verifies runtimes,"
        " not the files (without audit and modules):"
        f" {counted(count, 'row')} on {', '.join(ran)}"
    )
    if failed:
        line += f": {len(failed)} of {counted(len(cells), 'cell')} failed, {', '.join(failed)}"
    else:
        does = "agrees" if len(cells) == 1 else "agree"
        line += (
            f": {counted(len(cells), 'cell')} {does} with the reference in"
            f" {counted(cases, 'run')}"
        )
    if runtimes.unsupported:
        line += f"; {counted(len(runtimes.unsupported), 'cell')} declared not to run"
    if skipped:
        line += f"; skipped: {', '.join(skipped)}"
    if report.unfinished:
        line += f"; interrupted before {report.unfinished[0]} was done"
    if report.random_weights:
        line += "; RANDOM WEIGHTS: this proves arithmetic, the model makes no music"
    return line + "."
