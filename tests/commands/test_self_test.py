"""The command self-test, with two of the defects."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Cli, refused
from tests.support.report_samples import passing_report
from vampnet_onnx.reports import read_report, write_reports


def test_self_test_says_what_caught_each_defect_and_adds_it_to_a_report(
    cli: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "report"
    write_reports(passing_report(), folder)
    planted = ("--only", "MaskTokenSampleable", "--only", "AnotherTarget")
    result = cli("self-test", "--runs", 0, *planted, "--into", folder)
    assert result.code == 0
    assert (
        "2 of 2 defects caught, 2 named rightly; 0 false alarms in 0 sound runs" in result.out
    )
    refusal, heard = read_report(folder / "report.json").self_test.trials
    assert refusal.gates == ["refused at export: logits has axis 81, should be 80"]
    assert (heard.defect, heard.component) == ("AnotherTarget", "audio_processor")
    assert heard.gates == ["relative_l2"] and heard.named == heard.culprit == "normalise"
    assert "AnotherTarget" in (folder / "report.md").read_text("utf-8")


def test_self_test_refuses_a_defect_and_a_report_that_are_not_there(
    cli: Cli, tmp_path: Path
) -> None:
    refused(cli("self-test", "--only", "AnotherTargt"), "did you mean 'AnotherTarget'?")
    refused(cli("self-test", "--into", tmp_path), "report.json")
