"""Runs of a history made by hand: one component, and what was other in each of them."""

from __future__ import annotations

import math
from typing import Any

from vampnet_onnx.reports import Verdict
from vampnet_onnx.reports.history import PastComponent, PastGate, PastMatrix, PastRun


def gate(
    value: float | None, limit: float = 1e-5, verdict: Verdict = Verdict.PASS
) -> PastGate:
    """Return a gate that must be at most its limit."""
    known = value is not None and not math.isnan(value)
    headroom = (limit / value if value else math.inf) if known and value is not None else None
    failed = headroom is None or headroom < 1
    return PastGate(value, limit, headroom, Verdict.FAIL if failed else verdict)


def past(number: int, gates: dict[str, PastGate] | None = None, **changed: Any) -> PastRun:
    """Return the run of a day, in which coarse had these gates."""
    found = gates or {"relative_l2": gate(1e-6)}
    verdict = max((g.verdict for g in found.values()), key=list(Verdict).index)
    tools = {"torch": "2.8.0", "onnxruntime": "1.22.0"}
    run = PastRun(
        date=f"2026-02-{number + 1:02}T10:00:00+00:00",
        run=f"{number:016x}",
        model="mine",
        version=f"v{number + 1}",
        fingerprint="ab" * 32,
        commit=f"{number}" * 40,
        verdict=verdict,
        partial=[],
        reference="the models",
        runtime="ONNX Runtime on cpu",
        processor="Some Processor 9000",
        cores=2,
        toolchain=tools,
        exported_with=tools,
        exporter="0123456789ab",
        sources={"coarse.pth": "5a5a5a5a5a5a"},
        matrix=PastMatrix(seeds="0:3", frames=[1, 7], batches=[1]),
        seconds=31.0,
        components={"coarse": PastComponent(verdict=verdict, seconds=3.0, gates=found)},
    )
    return run.model_copy(update=changed)


def creeping(*values: float | None) -> list[PastRun]:
    """Return a run a value of relative_l2, whose limit is 1e-5."""
    return [past(i, {"relative_l2": gate(value)}) for i, value in enumerate(values)]
