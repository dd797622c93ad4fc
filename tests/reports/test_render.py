"""The renderings of a report: nothing hidden, nothing fetched, the same bytes every time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.report_samples import ambiguous_report, failing_report, passing_report
from vampnet_onnx import reports
from vampnet_onnx.reports import (
    DefectTrial,
    Gate,
    HeatMap,
    Report,
    Scatter,
    SelfTest,
    Verdict,
    read_report,
    write_reports,
)
from vampnet_onnx.reports.figures import gate_bar, heat_figure, scatter_plots, undrawn
from vampnet_onnx.reports.html import render_html
from vampnet_onnx.reports.junit import render_junit
from vampnet_onnx.reports.markdown import render_markdown
from vampnet_onnx.reports.summary import format_number, headroom, share_of_limit, tell_apart

SAMPLES = [passing_report, ambiguous_report, failing_report]
HOSTILE = "<script>alert(1)</script> \"'|`*_ &amp; ]]> \x1b[31m \x00 \u202e\nnext {{ 7*7 }}"

every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.__name__)
Sample = Callable[[], Report]


class Page(HTMLParser):
    """What a browser would make of the page: tags with attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile_report() -> Report:
    """Return a failing report with hostile text wherever text can stand."""
    report = failing_report()
    text = {"name": HOSTILE, "message": HOSTILE}
    gate = (
        report.components[1]
        .gates[0]
        .model_copy(update={**text, "reason": HOSTILE, "unit": HOSTILE, "worst_case": HOSTILE})
    )
    case = (
        report.components[1]
        .cases[2]
        .model_copy(update={"id": HOSTILE, "message": HOSTILE, "metrics": {HOSTILE: 1.0}})
    )
    heat = report.components[1].heat_map
    assert heat is not None
    part = report.components[1].model_copy(
        update={
            **dict.fromkeys(("name", "variant", "file", "sha256"), HOSTILE),
            "gates": [gate],
            "cases": [case],
            "heat_map": heat.model_copy(
                update={"case": HOSTILE, "quantity": HOSTILE, "rows": [HOSTILE] * 14}
            ),
        }
    )
    return report.model_copy(
        update={
            **dict.fromkeys(("model", "version", "verdict_line", "reference"), HOSTILE),
            "notes": [HOSTILE],
            "toolchain": {HOSTILE: HOSTILE},
            "sources": [report.sources[0].model_copy(update={"name": HOSTILE})],
            "components": [part],
        }
    )


def test_the_committed_schema_is_the_schema_of_the_code() -> None:
    committed = Path(reports.__file__).with_name("report.schema.json")
    assert committed.read_text(encoding="utf-8") == reports.json_schema(), (
        "write reports.json_schema() to reports/report.schema.json"
    )


@every_sample
def test_report_json_follows_the_schema_with_nan_and_infinity(
    sample: Sample, tmp_path: Path
) -> None:
    text = write_reports(sample(), tmp_path)["json"].read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name} is no JSON"))
    validator = jsonschema.Draft202012Validator(json.loads(reports.json_schema()))
    validator.validate(data)
    if sample is failing_report:
        assert data["components"][1]["gates"][0]["value"] == "NaN"
        assert "Infinity" in data["components"][1]["scatter"]["export"]


@every_sample
def test_report_json_reads_back_to_the_same_report(sample: Sample, tmp_path: Path) -> None:
    path = write_reports(sample(), tmp_path)["json"]
    assert read_report(path).model_dump_json() == sample().model_dump_json()


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


@pytest.mark.parametrize("sample", [*SAMPLES, hostile_report], ids=lambda s: s.__name__)
def test_the_page_refers_to_nothing_outside_itself(sample: Sample) -> None:
    html = render_html(sample())
    assert "http:" not in html and "https:" not in html
    assert not re.search(r"url\s*\(|@import|@font-face", html)
    page = Page(html)
    loading = {"script", "link", "img", "iframe", "object", "embed", "video", "audio", "base"}
    assert not loading & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "data", "action", "style-src"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert (attributes.get("href") or "#").startswith("#"), (tag, attributes)
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


@every_sample
def test_every_link_of_the_page_leads_somewhere(sample: Sample) -> None:
    tags = Page(render_html(sample())).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"] for _, a in tags if "href" in a}
    labels = {f"#{a['aria-labelledby']}" for _, a in tags if "aria-labelledby" in a}
    assert links | labels <= {f"#{name}" for name in ids}


def test_hostile_text_is_text_in_the_page() -> None:
    page = Page(render_html(hostile_report()))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "\\x1b[31m" in page.text and "\\u202e" in page.text
    assert not {"\x1b", "\x00", "\u202e"} & set("".join(page.texts))


def test_hostile_text_is_text_in_markdown() -> None:
    text = render_markdown(hostile_report())
    assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
    for line in text.splitlines():
        assert not re.search(r"(?<!\\)`", line), line
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(blocks) == 5
    for block in blocks:
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block


def test_hostile_text_is_text_in_junit() -> None:
    root = ET.fromstring(render_junit(hostile_report()))
    failure = root.find(".//failure")
    assert failure is not None
    assert "<script>alert(1)</script>" in failure.get("message", "")
    assert "\\x1b[31m" in (failure.text or "")


@every_sample
def test_junit_has_a_suite_a_component_and_a_test_a_gate_and_a_case(sample: Sample) -> None:
    report = sample()
    root = ET.fromstring(render_junit(report).encode())
    suites = root.findall("testsuite")
    assert len(suites) == len(report.components)
    for suite, part in zip(suites, report.components, strict=True):
        tests = suite.findall("testcase")
        assert len(tests) == len(part.gates) + len(part.cases) == int(suite.get("tests", ""))
        failed = [item for item in (*part.gates, *part.cases) if item.verdict == "FAIL"]
        excused = [item for item in (*part.gates, *part.cases) if item.verdict == "AMBIGUOUS"]
        assert len(suite.findall("testcase/failure")) == len(failed)
        assert int(suite.get("failures", "")) == len(failed)
        assert len(suite.findall("testcase/system-out")) == len(excused)
    assert int(root.get("failures", "")) == len(root.findall(".//failure"))


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
    page = page[page.index("vampnet-tiny not published") :]
    for top in (page[:900], text[:1200]):
        assert "31 logits of the export are NaN" in top
        assert "c2f" in top and "logits_relative_l2 is NaN, must be at most 1e-5" in top
        assert "case c2f-b2-l173 (seed 2, batch 2, length 173)" in top
        assert "transformer.layers.3.self_attn" in top
    assert page.index("logits_relative_l2 is NaN") < page.index("Compared with")


def test_nan_is_loud_and_never_a_gap() -> None:
    html = render_html(failing_report())
    assert '<strong class="loud">NaN</strong>' in html
    assert '<strong class="loud">not measured</strong>' in html
    text = Page(html).text
    assert "2 of 300 sampled pairs are not finite" in text
    assert (
        "47 of 1218 cells are not finite, the first at codebook 3, frames 126 to 127" in text
    )
    assert "not finite: 31 values of the export, 0 of the reference" in text


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
    write_reports(report.model_copy(update={**empty, "components": [bare]}), tmp_path)
    write_reports(report.model_copy(update={**empty, "components": []}), tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not measured"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (-0.0, "0"),
        (31.0, "31"),
        (0.0123456, "0.0123"),
        (118.43, "118"),
        (1.23456e-7, "1.23e-7"),
        (1e38, "1e38"),
        (0.99996, "0.99996"),
        (-0.99996, "-0.99996"),
    ],
)
def test_numbers_have_three_digits_and_never_pretend_to_be_one(
    value: float | None, text: str
) -> None:
    assert format_number(value) == text


def test_a_value_just_beyond_its_limit_does_not_look_equal_to_it() -> None:
    assert tell_apart(1.00004e-5, 1e-5) == ("1.00004e-5", "1e-5")
    assert tell_apart(1e-5, 1e-5) == ("1e-5", "1e-5")


@pytest.mark.parametrize(
    ("direction", "unit", "value", "limit", "share", "words"),
    [
        ("at most", "", 1e-6, 1e-5, 0.1, "10x to spare"),
        ("at most", "", 3e-5, 1e-5, 3.0, "3x the limit"),
        ("at most", "", 0.0, 0.0, 0.0, "exact"),
        ("at most", "", 3.0, 3.0, 1.0, "at the limit"),
        ("at most", "", 2.0, 0.0, math.inf, "beyond the limit"),
        ("at most", "", math.inf, 1.0, math.inf, "beyond the limit"),
        ("at most", "", math.nan, 1.0, math.inf, "NaN"),
        ("at most", "", None, 1.0, math.inf, "not measured"),
        ("at least", "", 0.999, 0.99, 0.1, "10x to spare"),
        ("at least", "", 1.0, 1.0, 0.0, "exact"),
        ("at least", "", 0.9, 1.0, math.inf, "beyond the limit"),
        ("at least", "", 0.5, 0.001, 0.002, "500x to spare"),
        ("at least", "", 0.0, 0.001, math.inf, "beyond the limit"),
        ("at least", "dB", 110.0, 90.0, 0.1, "20 dB to spare"),
        ("at least", "dB", 70.0, 90.0, 10.0, "20 dB beyond"),
        ("at least", "dB", math.inf, 90.0, 0.0, "exact"),
    ],
)
def test_headroom_is_the_share_of_the_limit_that_is_used(
    direction: str, unit: str, value: float | None, limit: float, share: float, words: str
) -> None:
    gate = _gate(value, limit, direction, unit)
    assert share_of_limit(gate) == pytest.approx(share)
    assert headroom(gate) == words


numbers = st.floats(width=64, allow_nan=True, allow_infinity=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), max_size=8))
def test_any_numbers_can_be_drawn(pairs: list[tuple[float, float]]) -> None:
    reference, export = [r for r, _ in pairs], [e for _, e in pairs]
    scatter = Scatter(case="c", quantity="q", reference=reference, export=export)
    plots = scatter_plots(scatter)
    assert bool(plots) == (undrawn(scatter) < len(pairs))
    for plot in plots:
        assert "nan" not in plot.dots and "inf" not in plot.dots
    heat = HeatMap(
        case="c",
        quantity="q",
        rows=["a", "b"],
        columns_per_cell=3,
        values=[[abs(x) for x in side] for side in (reference, export)],
    )
    figure = heat_figure(heat)
    assert (figure is None) == (not pairs)
    if figure is not None:
        assert len(figure.cells) == 2 * len(pairs)
        levels = [cell.level for cell in figure.cells]
        assert levels.count(None) == figure.nonfinite
        assert all(level is None or 0 <= level <= 8 for level in levels)


@settings(max_examples=300, deadline=None)
@given(numbers, numbers, st.sampled_from(["at most", "at least"]), st.sampled_from(["", "dB"]))
def test_a_bar_reaches_past_the_mark_exactly_when_the_limit_is_broken(
    value: float, limit: float, direction: str, unit: str
) -> None:
    gate = _gate(value, limit, direction, unit)
    broken = not (value <= limit if direction == "at most" else value >= limit)
    assert (share_of_limit(gate) > 1) == broken
    assert 0 <= gate_bar(gate) <= 8
    assert headroom(gate)


def _gate(value: float | None, limit: float, direction: str, unit: str) -> Gate:
    return Gate(
        name="g",
        verdict=Verdict.FAIL,
        value=value,
        limit=limit,
        direction=direction,
        unit=unit,
        reason="",
        worst_case="",
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
