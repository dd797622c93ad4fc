"""Headroom over runs: what a fall is, where it began, and how it is told."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support.histories import creeping, gate, past
from tests.support.html_page import Page
from tests.support.report_samples import passing_report
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.reports import Report, Run, Trend, Verdict, write_reports
from vampnet_onnx.reports.history import PastRun, append_run
from vampnet_onnx.reports.trend import (
    MOST_RUNS,
    standing,
    trend_of,
    where_it_fell,
    with_history,
)

RULE = load_gates().headroom


def trend(runs: list[PastRun]) -> Trend:
    found = trend_of(runs, RULE)
    assert found is not None
    return found


def fallen(*values: float | None) -> list[tuple[int, bool]]:
    """Return in which runs a gate with the limit 1e-5 fell, and whether it stands."""
    return [(fall.run, fall.stands) for fall in trend(creeping(*values)).falls]


def test_what_a_fall_is() -> None:
    assert fallen(1e-6, 1.1e-6, 2.9e-6) == []  # less than three times nearer, and 3.4x left
    assert fallen(1e-6, 3.1e-6) == [(1, True)]  # more than three times nearer
    assert fallen(5e-6, 6.6e-6) == []  # 2x, then 1.52x
    assert fallen(6.6e-6, 6.8e-6) == [(1, True)]  # 1.52x, then 1.47x
    assert fallen(7e-6, 8e-6, 9e-6) == []  # never had the least there is to spare
    assert fallen(9.9e-6, 1.1e-5) == [(1, True)]  # a worse verdict
    assert fallen(1e-6, math.nan) == fallen(1e-6, None) == [(1, True)]
    assert fallen(0.0, 1e-12) == []  # nothing used, and next to nothing


def test_what_recovered_does_not_stand_and_is_told_last() -> None:
    assert fallen(1e-6, 9e-6, 1e-6, 4e-6) == [(3, True), (1, False)]
    assert fallen(1e-6, 9e-6, 8e-6, 2e-5) == [(1, True), (3, True)]
    assert standing(trend(creeping(1e-6, 9e-6, 8e-6, 2e-5))) == 1  # one gate, twice


def test_an_excuse_is_worse_than_a_pass() -> None:
    excused = {"relative_l2": gate(1e-6, verdict=Verdict.AMBIGUOUS)}
    assert [fall.verdict for fall in trend([past(0), past(1, excused)]).falls] == ["AMBIGUOUS"]


def test_the_first_run_in_which_it_fell_is_told_with_what_was_other() -> None:
    runs = creeping(1e-6, 1e-6, 4e-6, 4e-6)
    for number in (2, 3):
        tools = {"torch": "2.9.0", "onnxruntime": "1.22.0"}
        changed = {"exported_with": tools, "toolchain": {**tools, "onnxruntime": "1.23.0"}}
        sources = {"coarse.pth": "another"}
        runs[number] = runs[number].model_copy(update={**changed, "sources": sources})
    assert where_it_fell(trend(runs)) == (
        "headroom fell in v3 of 2026-02-03 10:00 UTC, commit 2222222222: relative_l2 of coarse"
        " from 10x to spare to 2.5x to spare (PASS). Other than in the run before: another"
        " coarse.pth; exported with torch 2.9.0, was 2.8.0; verified with onnxruntime 1.23.0,"
        " was 1.22.0; commit 2222222222, was 1111111111"
    )
    assert trend(runs).runs[3].differs == ["commit 3333333333, was 2222222222"]
    assert where_it_fell(trend(runs[:2])) == ""


def test_another_limit_processor_and_matrix_are_told() -> None:
    other = past(1, {"relative_l2": gate(1e-6, limit=1e-6)}, processor="Other", commit="")
    matrix = other.matrix.model_copy(update={"seeds": "0:9"})
    found = trend([past(0), other.model_copy(update={"matrix": matrix})])
    assert found.runs[1].differs == [
        "commit unknown, was 0000000000",
        "processor Other, was Some Processor 9000",
        "seeds 0:9, was 0:3",
        "limit of relative_l2 of coarse 1e-6, was 1e-5",
    ]
    assert where_it_fell(found).startswith("headroom fell in the newest run: relative_l2")


def test_only_so_many_runs_and_falls_are_kept() -> None:
    many = {f"gate_{i}": gate(1e-6) for i in range(20)}
    runs = [past(i % 28, many, run=f"{i}") for i in range(MOST_RUNS + 4)]
    runs.append(past(0, {name: gate(1.0) for name in many}, run="last"))
    found = trend(runs)
    assert len(found.runs) == MOST_RUNS and found.older == 5
    assert len(found.falls) == 12 and found.more_falls == 8
    assert {fall.run for fall in found.falls} == {MOST_RUNS - 1}
    assert [len(line.headroom) for line in found.lines] == [MOST_RUNS]
    assert "; and 9 more. Other" in where_it_fell(found)
    assert trend_of(runs[:1], RULE) is None


def report() -> Report:
    run = Run(
        date="2026-02-03T04:05:06+00:00",
        seconds=31.2,
        processor="P",
        cores=2,
        commit="",
        previous="",
        runtime="ONNX Runtime on cpu",
    )
    return passing_report().model_copy(update={"model": "mine", "run": run})


def test_a_report_draws_what_compares_and_says_where_it_fell(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for run in (
        *creeping(1e-6, 4e-6, 4.1e-6),
        past(5, model="another"),
        past(6, runtime="OpenVINO"),
        past(7, partial=["only single cases were asked for"]),
        past(8, {}, components={}),
    ):
        append_run(path, run)
    found = with_history(report(), [path])
    assert found.trend is not None and len(found.trend.runs) == 4
    files = write_reports(found, tmp_path / "out")
    page = Page(files["html"].read_text("utf-8"))
    text = files["markdown"].read_text("utf-8")
    (figure,) = (dict(a) for tag, a in page.tags if tag == "svg" and a.get("class") == "spark")
    assert figure["aria-label"] == (
        "coarse over 3 runs: in v3 of 2026-02-03 10:00 UTC, commit 2222222222: 2.44x to spare,"
        " relative_l2"
    )
    rings = [str(a.get("class")) for tag, a in page.tags if tag == "circle"]
    assert [ring for ring in rings if "dot" in ring] == ["dot", "dot fell", "dot"]
    for whole in (page.text, text):
        assert (
            "in v2 of 2026-02-02 10:00 UTC, commit 1111111111: relative_l2 of coarse" in whole
        )
    assert "| coarse |  | 10 | 2.5 | 2.44 | \N{EN DASH} |" in text


def test_another_history_takes_the_place_of_the_notes_of_the_one_before(
    tmp_path: Path,
) -> None:
    """Two of them would contradict each other on one page."""
    first, other = tmp_path / "first", tmp_path / "other"
    for run in creeping(1e-6, 4e-6):
        append_run(first, run)
        append_run(other, run.model_copy(update={"processor": f"of {run.version}"}))
    plain = report().model_copy(update={"notes": ["another note"]})
    once = with_history(plain, [first])
    assert once.trend is not None
    assert once.notes == ["another note", where_it_fell(once.trend)]
    again = with_history(once, [other])
    assert again.trend is not None and "processor of v2" in where_it_fell(again.trend)
    assert again.notes == ["another note", where_it_fell(again.trend)]
    undrawn = plain.model_copy(update={"notes": ["headroom over runs is not drawn: damage"]})
    assert with_history(undrawn, [first]).notes == once.notes[1:]


def test_one_run_has_no_trend_and_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append_run(path, past(0))
    with pytest.raises(
        InputError, match=r"two whole runs of mine on ONNX .* there is 1; verify"
    ):
        with_history(report(), [path])
