"""Jobs by phase: totals, what is told together, and phases that only some have."""

from __future__ import annotations

import pytest

from vampnet_onnx.verify.bench.wholes import rows_of, with_totals


def test_phases_add_up_and_opening_is_told_as_one() -> None:
    found = with_totals({"open": 1.0, "load": 2.0, "decode": 4.0})
    assert found == {"open": 1.0, "load": 2.0, "decode": 4.0, "opening": 3.0, "total": 7.0}


def test_phases_that_overlap_have_a_total_of_the_clock() -> None:
    found = with_totals({"reference": 5.0, "export": 5.0, "total": 6.0})
    assert found == {"reference": 5.0, "export": 5.0, "total": 6.0}


def test_a_row_is_a_phase_of_those_that_have_it_in_every_round() -> None:
    rows = rows_of(
        "vamp",
        {
            "onnx": [{"open": 1.0, "total": 2.0}] * 3,
            "torch": [{"total": 4.0}, {"total": 4.0, "open": 9.0}, {"total": 4.0}],
        },
        {"onnx": [{"total": 5}, {"total": 7}, {"total": 6}], "torch": []},
        cores=2,
        audio_s=10.0,
    )
    opening, total = rows
    assert (opening.what, [t.contestant for t in opening.timings]) == ("open", ["onnx"])
    onnx, torch = total.timings
    assert onnx.ratio is None and torch.ratio is not None and torch.ratio.value == 2.0
    assert (onnx.peak_memory, torch.peak_memory) == (7, None)
    assert onnx.audio_seconds_a_second == pytest.approx(5.0)


def test_who_is_compared_with_is_the_first_even_where_it_has_no_such_phase() -> None:
    rows = rows_of(
        "export",
        {"onnx": [{"total": 1.0}] * 3, "beside": [{"trace": 2.0, "total": 3.0}] * 3},
        {"onnx": [], "beside": []},
        cores=1,
    )
    (trace,) = (row for row in rows if row.what == "trace")
    assert [(t.contestant, t.ratio) for t in trace.timings] == [("beside", None)]
