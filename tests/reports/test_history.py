"""The lines of a history: what they hold, how they are merged, and which are refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.histories import past
from tests.support.report_samples import failing_report, passing_report
from tests.support.versions import staged_version
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.reports import Report, Run
from vampnet_onnx.reports.history import (
    PastGate,
    PastRun,
    append_run,
    past_run,
    read_history,
)

MATRIX = VerifySection(**shipped("defaults.toml")["verify"])


def told(report: Report, tmp_path: Path, **matrix: list[int]) -> PastRun:
    run = Run(
        date="2026-02-03T04:05:06+00:00",
        seconds=31.2,
        processor="P",
        cores=2,
        commit="c0ffee",
        previous="",
        runtime="ONNX Runtime on cpu",
    )
    manifest = read_manifest(staged_version(tmp_path / "x"))
    asked = MATRIX.model_copy(update=matrix)
    found = report.model_copy(update={"run": run})
    return past_run(found, manifest, "ab" * 32, matrix=asked)


def test_a_line_tells_the_run_and_every_gate(tmp_path: Path) -> None:
    report = failing_report()
    run = told(report, tmp_path, seeds=[7, 0, 1, 2, 9, 10])
    path = tmp_path / "history.jsonl"
    append_run(path, run)
    (line,) = path.read_text("utf-8").splitlines()
    assert list(json.loads(line))[:2] == ["date", "run"]  # so that text sorts by date
    (again,) = read_history(path, path)  # NaN is the same twice
    assert again.model_dump_json() == line == run.model_dump_json()
    assert (run.model, run.verdict, run.commit) == (report.model, "FAIL", "c0ffee")
    assert run.matrix.seeds == "0:3,7,9:11"
    assert run.sources == {"coarse.pth": "0" * 12} and run.exported_with == {"torch": "2"}
    assert set(run.components) == {part.id for part in report.components}
    for part in report.components:
        found = run.components[part.id]
        assert found.verdict == part.verdict
        assert list(found.gates) == [gate.name for gate in part.gates]
    nan, beyond, unmeasured, _ = run.components["c2f"].gates.values()
    assert nan.value != nan.value and nan.headroom is None and nan.verdict == "FAIL"
    assert beyond.headroom is not None and beyond.headroom < 1
    assert unmeasured == PastGate(None, unmeasured.limit, None, "FAIL")


def test_two_runs_of_one_moment_are_two(tmp_path: Path) -> None:
    first, second = (told(passing_report(), tmp_path / name) for name in "ab")
    assert first.run != second.run


def test_histories_are_merged_by_reading_them_and_by_sort(tmp_path: Path) -> None:
    here, there, both = (tmp_path / f"{name}.jsonl" for name in ("here", "there", "both"))
    runs = [past(number) for number in range(4)]
    for path, numbers in ((here, (0, 3, 2)), (there, (1, 0))):
        for number in numbers:
            append_run(path, runs[number])
    assert read_history(here, there) == read_history(there, here) == runs
    sort = shutil.which("sort")
    if sort is None or os.name == "nt":
        pytest.skip("the sort of POSIX")
    line = [sort, "-u", here, there, "-o", both]
    subprocess.run(line, env={**os.environ, "LC_ALL": "C"}, check=True)
    assert read_history(both) == runs
    assert both.read_text().splitlines() == [run.model_dump_json() for run in runs]


@pytest.mark.parametrize(
    "line",
    [
        b"half of a li",
        b"{}",
        b"[1]",
        b"\xff",
        b'{"schema_version": 1}',
        b'{"schema_version": 2}',
    ],
)
def test_a_damaged_line_is_refused_by_its_number_and_hinders_no_writer(
    tmp_path: Path, line: bytes
) -> None:
    path = tmp_path / "history.jsonl"
    append_run(path, past(0))
    with path.open("ab") as file:
        file.write(line)  # without an end, as a killed run leaves it
    append_run(path, past(1))
    with pytest.raises(InputError, match=r"history\.jsonl:2: .*(remove it|use the version)"):
        read_history(path)
    lines = path.read_bytes().split(b"\n")
    assert lines[1] == line
    path.write_bytes(b"\n".join(lines[:1] + lines[2:]))
    assert read_history(path) == [past(0), past(1)]


def test_one_run_told_in_two_ways_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append_run(path, past(0))
    append_run(path, past(0, version="v7"))
    with pytest.raises(InputError, match=r"history\.jsonl:2: tells the run 0+ otherwise than"):
        read_history(path)


def test_a_history_that_is_not_there_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is no regular file"):
        read_history(tmp_path / "pipe")
    with pytest.raises(InputError, match="none: cannot be read"):
        read_history(tmp_path / "none")
