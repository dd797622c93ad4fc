"""Headroom that shrinks: every gate beside what it was in the last version that was verified.

A value creeps towards its limit over versions, each of which passes.
"""

import math
from collections.abc import Sequence

from vampnet_onnx.configs.manifest import GateRecord
from vampnet_onnx.reports import Gate, Report, Verdict

# More headroom than this is as good as any: the value is next to nothing.
_ENOUGH = 1e3


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
            was = _headroom(gate, old.value, old.limit)
            fell = was / _headroom(gate, gate.value, gate.limit)
            if fell > factor:
                notes.append(
                    f"headroom of {component.id}.{gate.name} fell {fell:.3g}-fold since"
                    f" {version}: {gate.value:.3g} of {gate.limit:.3g}, was {old.value:.3g} of"
                    f" {old.limit:.3g}"
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


def _headroom(gate: Gate, value: float, limit: float) -> float:
    """Return how many times a value could be as bad, from nothing to what is enough."""
    if gate.unit == "dB":
        return min(10 ** ((value - limit) / 20), _ENOUGH)
    if limit <= 0 or math.isnan(value):
        return _ENOUGH  # counts of which there may be none: they hold or fail
    if gate.direction == "at most":
        return min(limit / max(value, limit / _ENOUGH), _ENOUGH)
    return min(value / limit, _ENOUGH)
