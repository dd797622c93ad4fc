"""A verification is drawn among those before it, and kept, whatever is in the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.report_samples import passing_report
from tests.support.versions import staged_version
from vampnet_onnx.configs.config import VerifySection, load_gates
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.reports.history import read_history
from vampnet_onnx.verify.told_history import History
from vampnet_onnx.verify.told_run import told_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return staged_version(tmp_path / "mine" / "v1")


def history(folder: Path, *partial: str) -> History:
    matrix = VerifySection(**shipped("defaults.toml")["verify"])
    rule = load_gates().headroom
    return History(folder.parent, read_manifest(folder), matrix, rule, partial)


def verified(folder: Path, *partial: str) -> tuple[int, str]:
    """Place and keep a run; returns how many runs its report draws, and what was said."""
    run = told_run(time.monotonic(), None)
    kept = history(folder, *partial)
    report, line = kept.placed(passing_report().model_copy(update={"run": run}), folder)
    return len(report.trend.runs) if report.trend else 0, kept.keep(line)


def test_every_whole_run_is_drawn_from_the_second_on(folder: Path) -> None:
    told = "history.jsonl has this run"
    assert verified(folder) == (0, told)
    assert verified(folder, "a quick run was asked for") == (0, told)
    assert verified(folder) == (2, told)
    runs = read_history(folder.parent / "history.jsonl")
    assert sorted(run.partial for run in runs) == [[], [], ["a quick run was asked for"]]


def test_a_damaged_history_is_noted_and_goes_on(folder: Path) -> None:
    (folder.parent / "history.jsonl").write_text("half")
    run = told_run(time.monotonic(), None)
    report = passing_report().model_copy(update={"run": run})
    found, line = history(folder).placed(report, folder)
    assert found.trend is None and found.verdict == "PASS"
    assert "headroom over runs is not drawn" in found.notes[-1]
    assert "history.jsonl:1: this line is none of a history" in found.notes[-1]
    assert history(folder).keep(line) == "history.jsonl has this run"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_cannot_be_written_to_is_said_in_one_line(folder: Path) -> None:
    folder.parent.chmod(0o555)
    drawn, told = verified(folder)
    folder.parent.chmod(0o755)
    assert drawn == 0 and "history.jsonl has no line of this run: " in told
    assert "cannot be written" in told and "\n" not in told


def test_something_else_in_its_place_is_said_in_one_line(folder: Path) -> None:
    (folder.parent / "history.jsonl").mkdir()
    _, told = verified(folder)
    assert told.startswith("history.jsonl has no line of this run: ") and "\n" not in told
