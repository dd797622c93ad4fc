"""Headroom that shrinks: every gate beside what it was in the last version that was verified.

A value creeps towards its limit over versions, each of which passes.
"""

import math
from collections.abc import Sequence

from vampnet_onnx.configs.manifest import GateRecord
from vampnet_onnx.reports import Gate, Report, Verdict
from vampnet_onnx.reports.summary import describe_gate, share_of_limit, tell_apart

# To use less of a limit than this is as good as to use nothing.
_LITTLE = 1e-3


def with_headroom(
    report: Report,
    last: Sequence[GateRecord],
    version: str,
    *,
    factor: float,
    strict: bool = False,
) -> Report:
    """Add a note for every gate whose headroom fell by more than a factor.

    Args:
        last: gates of the last verified version; those it did not have are left out.
        version: its name.
        strict: such a gate fails the report.
    """
    before = {(gate.component, gate.name): gate for gate in last}
    notes = []
    for component in report.components:
        for gate in component.gates:
            old = before.get((component.id, gate.name))
            if old is None or old.value is None or gate.value is None:
                continue
            used = _used(gate, gate.value, gate.limit)
            fell = used / _used(gate, old.value, old.limit)
            if factor < fell < math.inf:  # beyond all limits the gate itself says so
                was, limit = tell_apart(old.value, old.limit)
                then = "" if old.limit == gate.limit else f", must be {limit} then"
                # Of what used nothing, nothing is so many times as much.
                little = used / fell <= _LITTLE
                nearer = (
                    f"uses {used:.0%} of a limit, and next to nothing of it in {version}"
                    if little
                    else f"came {fell:.3g} times nearer to a limit since {version}"
                )
                notes.append(
                    f"{component.id} {nearer}: {describe_gate(gate)}; was {was}{then}"
                )
    if not notes:
        return report
    changed: dict[str, object] = {"notes": [*report.notes, *notes]}
    if strict and report.verdict is not Verdict.FAIL:
        changed |= {
            "verdict": Verdict.FAIL,
            "verdict_line": f"FAIL: all gates hold, but {len(notes)} have lost headroom since"
            f" {version}, which --strict forbids.",
        }
    return report.model_copy(update=changed)


def _used(gate: Gate, value: float, limit: float) -> float:
    """Return how much of a limit a value uses, as reports count it; never next to nothing."""
    return max(share_of_limit(value, limit, gate.direction, gate.unit), _LITTLE)
