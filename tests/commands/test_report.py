"""The command report."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Cli, files_below, refused


def test_report_refuses_what_is_no_report(cli: Cli, tmp_path: Path) -> None:
    refused(cli("report", tmp_path / "none.json"), "cannot be read")
    for data in (b"", b"{}", b"\xff", b"[1]"):
        (tmp_path / "bad.json").write_bytes(data)
        refused(cli("report", tmp_path / "bad.json"), "not a report")
    assert files_below(tmp_path) == ["bad.json"]
