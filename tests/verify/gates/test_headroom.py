"""Headroom that fell since the last verified version is told; with strict it fails."""

from __future__ import annotations

import pytest

from tests.support.report_samples import passing_report
from vampnet_onnx.reports import Report, Verdict
from vampnet_onnx.verify.gates.headroom import with_headroom
from vampnet_onnx.verify.gates.report import gate_records


def changed(report: Report, shrink: float) -> Report:
    """Return the report with every value nearer to its limit."""
    parts = [
        part.model_copy(
            update={
                "gates": [
                    gate.model_copy(update={"value": gate.limit / 1.5})
                    if gate.name == "logits_relative_l2" and shrink > 1
                    else gate
                    for gate in part.gates
                ]
            }
        )
        for part in report.components
    ]
    return report.model_copy(update={"components": parts})


@pytest.mark.parametrize("strict", [False, True])
def test_a_value_that_crept_towards_its_limit_is_told(strict: bool) -> None:
    before = passing_report()
    after = changed(before, 2)
    found = with_headroom(after, gate_records(before), "v3", factor=3, strict=strict)
    new = found.notes[len(after.notes) :]
    assert new and all(
        "logits_relative_l2 fell" in note and "since v3" in note for note in new
    )
    assert (found.verdict is Verdict.FAIL) == strict
    assert ("--strict" in found.verdict_line) == strict


def test_equal_gates_and_gates_that_are_new_are_not_told() -> None:
    report = passing_report()
    assert with_headroom(report, gate_records(report), "v1", factor=3, strict=True) == report
    assert (
        with_headroom(changed(report, 2), (), "v1", factor=3, strict=True).notes
        == report.notes
    )
