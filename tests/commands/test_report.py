"""The command report."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Cli, files_below, refused
from tests.support.histories import creeping
from tests.support.report_samples import passing_report
from vampnet_onnx.reports import Run, read_report, write_reports
from vampnet_onnx.reports.history import append_run


def test_report_refuses_what_is_no_report(cli: Cli, tmp_path: Path) -> None:
    refused(cli("report", tmp_path / "none.json"), "cannot be read")
    for data in (b"", b"{}", b"\xff", b"[1]"):
        (tmp_path / "bad.json").write_bytes(data)
        refused(cli("report", tmp_path / "bad.json"), "not a report")
    assert files_below(tmp_path) == ["bad.json"]


def test_report_draws_the_runs_of_several_histories(cli: Cli, tmp_path: Path) -> None:
    runs = creeping(1e-6, 4e-6, 4e-6)
    run = Run(
        **runs[-1].model_dump(include={"date", "processor", "cores", "commit", "seconds"}),
        previous="",
        runtime=runs[-1].runtime,
    )
    found = passing_report().model_copy(update={"model": "mine", "run": run})
    source = write_reports(found, tmp_path / "report")["json"]
    for number, name in enumerate(("here", "there", "there")):
        append_run(tmp_path / name, runs[number])
    for names, count in ((("there",), 2), (("here", "there"), 3)):
        files = [word for name in names for word in ("--history", tmp_path / name)]
        result = cli("report", source, *files, "--out", tmp_path / "out")
        assert result.code == 0
        drawn = read_report(tmp_path / "out" / "report.json").trend
        assert drawn is not None and len(drawn.runs) == count
    refused(
        cli("report", source, "--history", tmp_path / "here"),
        "two whole runs of mine",
        "verify once more, all of it",
    )
