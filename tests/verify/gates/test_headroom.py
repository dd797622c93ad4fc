"""Headroom that fell since the last verified version is told; with strict it fails."""

from __future__ import annotations

import pytest

from tests.support.report_samples import gate_of, passing_report
from vampnet_onnx.reports import Gate, Report, Verdict
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
        "came 8.02 times nearer to a limit since v3: logits_relative_l2 is" in note
        for note in new
    )
    assert (found.verdict is Verdict.FAIL) == strict
    assert ("--strict" in found.verdict_line) == strict


def test_of_what_was_nothing_no_ratio_is_told() -> None:
    before = [
        gate.model_copy(update={"value": 0.0})
        for gate in gate_records(passing_report())
        if gate.name == "logits_relative_l2"
    ]
    found = with_headroom(passing_report(), before, "v3", factor=3)
    (note, *_) = found.notes[len(passing_report().notes) :]
    assert "uses 8% of a limit, and next to nothing of it in v3: logits_relative_l2" in note
    assert "times nearer" not in note and note.endswith("; was 0")


def test_equal_gates_and_gates_that_are_new_are_not_told() -> None:
    report = passing_report()
    assert with_headroom(report, gate_records(report), "v1", factor=3, strict=True) == report
    assert (
        with_headroom(changed(report, 2), (), "v1", factor=3, strict=True).notes
        == report.notes
    )


@pytest.mark.parametrize(
    "limit, was, now, told",
    [
        (0.99, 0.999, 0.998, False),  # what they lack doubled
        (0.99, 0.998, 0.991, True),  # as shares of the limit they are alike
        (0.001, 0.5, 0.4, False),
        (0.001, 0.5, 0.002, True),
    ],
)
def test_a_limit_from_below_reads_as_one_and_is_counted_by_what_is_left(
    limit: float, was: float, now: float, told: bool
) -> None:
    then, found = (with_gate(gate_of(v, limit, "at least", "")) for v in (was, now))
    found = with_headroom(found, gate_records(then), "v1", factor=3)
    notes = [note for note in found.notes if "nearer to a limit" in note]
    assert bool(notes) == told
    for note in notes:
        assert f"must be at least {limit}; was {was}" in note and f" is {now}," in note


def with_gate(gate: Gate) -> Report:
    report = passing_report()
    part = report.components[0].model_copy(update={"gates": [gate]})
    return report.model_copy(update={"components": [part]})
