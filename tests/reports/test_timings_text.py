"""A bench in words."""

from __future__ import annotations

from tests.support.timings_samples import sample_bench, timing
from vampnet_onnx.reports.timings import Ratio
from vampnet_onnx.reports.timings_text import (
    UNCLEAR,
    beyond,
    grids,
    memory,
    seconds,
    times,
    who,
)


def test_a_part_is_a_table_with_a_line_a_contestant() -> None:
    components, vamp, export = grids(sample_bench())
    assert components.columns[:7] == [
        *("", "audio", "batch", "cores"),
        *("", "median", "against onnx"),
    ]
    onnx, torch, beside = components.rows
    assert onnx[:7] == ["coarse", "10 s", "1", "2", "onnx", "1 s ±0.01", ""]
    assert torch[:5] == ["", "", "", "", "torch"]
    assert torch[6:] == ["1.25 (1.24 to 1.26)", "50 %", "8", "3.21 GB"]
    assert beside[6] == UNCLEAR
    assert [line[0] for line in vamp.rows] == ["encode", "", "decode", "", "total", ""]
    assert len(export.rows) == 1
    assert all(len(row) == len(g.columns) for g in (components, vamp) for row in g.rows)


def test_a_ratio_that_is_not_clear_has_no_number() -> None:
    assert times(Ratio(value=None, low=0.5, high=2.0)) == UNCLEAR
    assert times(None) == ""


def test_a_ratio_that_more_rounds_would_tell_says_how_many() -> None:
    unsure = Ratio(value=None, low=1.02, high=1.3, would_tell=24)
    assert times(unsure) == "unsure, 1.02 to 1.30; about 24 rounds would tell"
    many = unsure.model_copy(update={"would_tell": 345})
    assert times(many).endswith("over 100 rounds would tell")


def test_threads_are_told_and_shares_of_more_than_all_have_a_word() -> None:
    bench = sample_bench()
    one = bench.contestants[0]
    assert "thread" not in who(one)
    assert ", a thread a core, at most 2," in who(one.model_copy(update={"threads": 2}))
    assert beyond(bench) == ""
    row = bench.rows[0]
    fast = row.timings[0].model_copy(update={"of_sgemm": 1.2})
    more = row.model_copy(update={"timings": [fast]})
    assert "fewer bits" in beyond(bench.model_copy(update={"rows": [more]}))


def test_memory_has_the_unit_that_suits_it() -> None:
    assert (memory(2_670_000_000), memory(54_000_000)) == ("2.67 GB", "54 MB")


def test_one_round_has_no_spread() -> None:
    once = timing("onnx", 0.25).model_copy(update={"rounds": [0.25]})
    assert (seconds(once), seconds(timing("onnx", 0.25))) == ("250 ms", "250 ms ±2.5")
