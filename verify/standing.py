"""What a verification makes of a version: whether it counts as verified from then on.

A PASS over the whole matrix earns it, a FAIL takes it back, anything less leaves it as it is.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from vampnet_onnx.configs.config import Gates, VerifySection, load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.manifest import MANIFEST_NAME, Manifest
from vampnet_onnx.configs.verification import (
    VERIFICATION_NAME,
    Matrix,
    Verification,
    missing_cases,
    read_verification,
    withdraw_verification,
    write_verification,
)
from vampnet_onnx.reports import Report, Verdict, report_json

from .gates.case import satisfies
from .gates.report import gate_records
from .subjects.registry import records_of


def shortfalls(
    report: Report, manifest: Manifest, matrix: VerifySection, gates: Gates
) -> list[str]:
    """Return how a verification falls short of the whole matrix, a reason each.

    The whole is every component and all of its files, the seeds, frames and batches of the
    shipped defaults, and no limit looser than the shipped one.
    """
    found = {*(part.id for part in report.components), *report.unfit}
    left = [record.id for record in records_of(manifest) if record.id not in found]
    reasons = [f"left out: {', '.join(left)}"] if left else []
    reasons += missing_cases(matrix)
    unjudged = [(c.id, gate) for c in report.components for gate in c.gates if gate.unjudged]
    if unjudged:
        names = ", ".join(dict.fromkeys(name for name, _ in unjudged))
        reasons.append(f"not all of {names} could be judged ({unjudged[0][1].message})")
    if report.unfinished:
        reasons.append("it was interrupted")
    ours = load_gates().kinds
    looser = [
        f"{kind}.{name}"
        for kind, rules in gates.kinds.items()
        for name, rule in rules.items()
        if not satisfies(rule.limit, ours[kind][name], ours[kind][name].limit)
    ]
    if looser:
        reasons.append(f"the limit of {', '.join(looser)} is looser than the shipped one")
    return reasons


def settle(
    folder: Path, report: Report, *, matrix: VerifySection, reasons: Sequence[str]
) -> str:
    """Write or withdraw the verification of a version, as a report of it demands.

    A folder that cannot be written to is no failure.

    Args:
        folder: of the version, or of one that is staged.
        reasons: why a PASS of this run is not enough; see `shortfalls`.

    Returns:
        What became of it, in a few words.
    """
    try:
        if report.verdict is Verdict.FAIL:
            gone = withdraw_verification(folder)
            return "no longer counts as verified" if gone else "does not count as verified"
        if reasons:
            why = "; ".join(reasons)
            if read_verification(folder):
                return f"counts as verified from before; this run alone would not do: {why}"
            return f"earns no {VERIFICATION_NAME}: {why}"
        write_verification(folder, _verification(folder, report, matrix))
    except InputError as error:
        return f"its {VERIFICATION_NAME} stays as it is: {error}"
    return f"counts as verified ({VERIFICATION_NAME})"


def _verification(folder: Path, report: Report, matrix: VerifySection) -> Verification:
    return Verification(
        verdict=report.verdict.value,
        verdict_line=report.verdict_line,
        reference=report.reference,
        gates=gate_records(report),
        manifest_sha256=sha256(folder / MANIFEST_NAME),
        report_sha256=hashlib.sha256(report_json(report).encode("utf-8")).hexdigest(),
        toolchain=report.toolchain,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        matrix=Matrix(
            seeds=tuple(matrix.seeds),
            frames=tuple(matrix.frames),
            batches=tuple(matrix.batches),
            cases=sum(part.cases_ran for part in report.components),
        ),
    )
