"""The renderings of a report together: the same bytes every time, failures in each."""

from __future__ import annotations

import html
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.html_page import Page
from tests.support.report_samples import Sample, every_sample, failing_report, passing_report
from vampnet_onnx.reports import (
    Cause,
    DefectTrial,
    HeatMap,
    Scatter,
    SelfTest,
    Verdict,
    read_report,
    write_reports,
)
from vampnet_onnx.reports.junit import render_junit
from vampnet_onnx.reports.pages import render_html, render_markdown


@every_sample
def test_the_same_report_gives_the_same_bytes(sample: Sample, tmp_path: Path) -> None:
    first = write_reports(sample(), tmp_path / "first")
    second = write_reports(read_report(first["json"]), tmp_path / "second")
    assert list(first) == ["json", "markdown", "junit", "html"]
    for kind, path in first.items():
        assert path.read_bytes() == second[kind].read_bytes(), kind


def test_old_renderings_are_replaced_and_no_temporary_file_stays(tmp_path: Path) -> None:
    write_reports(failing_report(), tmp_path)
    write_reports(passing_report(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "report.json",
        "report.md",
        "junit.xml",
        "report.html",
    }
    assert "FAIL" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_write_that_fails_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_reports(passing_report(), tmp_path)["json"].read_bytes()

    def full_disk(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_reports(failing_report(), tmp_path)
    assert (tmp_path / "report.json").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 4


def test_a_failure_without_gate_or_case_is_red_in_every_rendering() -> None:
    report = passing_report()
    part = report.components[0].model_copy(update={"verdict": Verdict.FAIL})
    for failed in (
        report.model_copy(update={"verdict": Verdict.FAIL}),
        report.model_copy(update={"verdict": Verdict.FAIL, "components": [part]}),
    ):
        assert ET.fromstring(render_junit(failed)).get("failures") == "1"
        assert "What did not pass" in render_markdown(failed)
        assert "What did not pass" in Page(render_html(failed)).text


def test_the_failing_gate_and_its_place_are_at_the_top() -> None:
    report = failing_report()
    page, text = Page(render_html(report)).text, render_markdown(report)
    assert text.startswith("# ❌ FAIL: ")
    page = page[page.index("vampnet-tiny (no version)") :]
    for top in (page[:900], text[:1200]):
        assert "31 logits of the export are NaN" in top
        assert "c2f" in top and "logits_relative_l2 is NaN, must be at most 1e-5" in top
        assert "case c2f-b2-l173 (seed 2, batch 2, length 173)" in top
        assert "transformer.layers.3.self_attn" in top
    assert page.index("logits_relative_l2 is NaN") < page.index("Compared with")


def test_random_weights_are_announced_only_when_they_are_random() -> None:
    for render in (render_html, render_markdown):
        assert "Random weights" in render(passing_report())
        real = passing_report().model_copy(update={"random_weights": False})
        assert "Random weights" not in render(real)


def test_a_report_with_nothing_in_it_still_renders(tmp_path: Path) -> None:
    report = passing_report()
    bare = report.components[0].model_copy(
        update={
            "gates": [],
            "cases": [],
            "metrics": {},
            "accuracy_per_codebook": [],
            "heat_map": HeatMap(case="", quantity="", rows=[], columns_per_cell=1, values=[]),
            "scatter": Scatter(case="", quantity="", reference=[], export=[]),
        }
    )
    empty = {"notes": [], "seeds": [], "toolchain": {}, "sources": []}
    for components in ([bare], []):
        given = report.model_copy(update={**empty, "components": components})
        files = write_reports(given, tmp_path)
        assert read_report(files["json"]) == given
        assert all(
            given.verdict_line in files[kind].read_text("utf-8")
            for kind in ("markdown", "html")
        )


def test_a_self_test_that_let_a_defect_slip_shows_in_every_rendering(tmp_path: Path) -> None:
    trial = DefectTrial(
        defect="LayerDropped",
        description="One layer is left out",
        component="coarse",
        caught=False,
        gates=[],
        culprit="transformer.layers.1",
        named="",
        right=False,
    )
    tested = SelfTest(trials=[trial], sound_runs=8, alarms=["coarse/seed=3"])
    files = write_reports(passing_report().model_copy(update={"self_test": tested}), tmp_path)
    for kind in ("html", "markdown"):
        text = files[kind].read_text("utf-8")
        assert "Self-test of the harness" in text
        assert "LayerDropped" in text and "coarse/seed=3" in text
    suite = ET.parse(files["junit"]).getroot().find("testsuite[@name='self-test']")
    assert suite is not None
    assert suite.get("failures") == "2"


@every_sample
def test_no_rendering_says_a_verdict_twice_or_shows_a_raw_number(
    sample: Sample, tmp_path: Path
) -> None:
    report = sample()
    why = Cause(
        component=report.components[0].id,
        module="transformer.layers.0",
        error=0.005199663100155339,
        what="weight scaled by 1.01",
        seconds=4.0,
        stopped=True,
        command="vampnet-onnx localise 'a b/v1' --case x_y",
    )
    first = report.components[0].model_copy(update={"causes": [why]})
    line = f"{report.verdict}: 1 component"
    told = report.model_copy(
        update={"components": [first, *report.components[1:]], "verdict_line": line}
    )
    files = write_reports(told, tmp_path)
    for kind in ("markdown", "html", "junit"):
        text = html.unescape(files[kind].read_text("utf-8"))
        text = re.sub(r"<style>.*?</style>|<[a-zA-Z/][^>]*>", " ", text, flags=re.DOTALL)
        shown = " ".join(text.split())
        assert not re.search(r"(PASS|FAIL|AMBIGUOUS): \1", shown)
        assert not re.search(r"(?<![\d.])1 (cases|components|gates|seeds)\b", shown)
        assert not re.search(r"\d\.\d{6,}|\b4\.0\b|\bNone\b", shown)
        if kind != "junit":  # which tells causes of gates that failed
            assert "own error 0.0052" in shown and why.command in shown
