"""The report as a page and as Markdown: nothing is hidden, hostile text is text."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from base64 import b64encode
from html import escape
from pathlib import Path

import pytest

from tests.support.html_page import Page
from tests.support.report_samples import (
    SAMPLES,
    Sample,
    every_sample,
    explained_report,
    failing_report,
    hostile_report,
    matrix_report,
    passing_report,
)
from vampnet_onnx.reports import Verdict, pages
from vampnet_onnx.reports.pages import render_html, render_markdown


@pytest.mark.parametrize("sample", [*SAMPLES, hostile_report], ids=lambda s: s.__name__)
def test_the_page_refers_to_nothing_outside_itself(sample: Sample) -> None:
    html = render_html(sample())
    assert "http:" not in html and "https:" not in html
    assert not re.search(r"url\s*\(|@import|@font-face", html)
    page = Page(html)
    loading = {"link", "img", "iframe", "object", "embed", "video", "audio", "base"}
    assert not loading & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "data", "action", "style-src"} & set(attributes), tag
        assert not [name for name in attributes if name.startswith("on")], tag
        assert (attributes.get("href") or "#").startswith("#"), (tag, attributes)
    policy = [a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a]
    # The one script that runs is the one that is there, byte for byte; it may ask for nothing.
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script == (Path(pages.__file__).parent / "templates/filter.js").read_text("utf-8")
    assert not re.search(r"fetch|XMLHttp|import|WebSocket|innerHTML|eval", script)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert policy == [rules]


@every_sample
def test_every_link_of_the_page_leads_somewhere(sample: Sample) -> None:
    tags = Page(render_html(sample())).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"] for _, a in tags if "href" in a}
    labels = {f"#{a['aria-labelledby']}" for _, a in tags if "aria-labelledby" in a}
    assert links and labels and links | labels <= {f"#{name}" for name in ids}


def test_hostile_text_is_text_in_the_page() -> None:
    page = Page(render_html(hostile_report()))
    assert [tag for tag, _ in page.tags].count("script") == 1  # ours
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "\\x1b[31m" in page.text and "\\u202e" in page.text
    assert not {"\x1b", "\x00", "\u202e"} & set("".join(page.texts))


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


def test_hostile_text_is_text_in_markdown() -> None:
    text = render_markdown(hostile_report())
    assert "<script" not in text and "\x1b" not in text and "\u202e" not in text
    for line in text.splitlines():
        assert not re.search(r"(?<!\\)`", line), line
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(blocks) == 6
    for block in blocks:
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block


def test_what_failed_is_first_and_open_and_what_passed_is_folded() -> None:
    tags = Page(render_html(explained_report())).tags
    parts = [a for tag, a in tags if tag == "details" and "data-component" in a]
    named = [(a["data-component"], "open" in a) for a in parts]
    # The cause is before what follows from it, whatever their order in the report.
    assert named == [
        ("c2f", True),
        ("generation", True),
        ("coarse", False),
        ("codec_decoder.fp16", False),
    ]
    passed = Page(render_html(passing_report())).tags
    assert not [a for tag, a in passed if tag == "details" and "open" in a]


def test_a_finding_leads_to_its_cause_its_case_its_heat_map_and_its_depth() -> None:
    html = render_html(explained_report())
    top = html[html.index('id="findings"') : html.index("</header>")]
    first, second = re.findall(r'<li data-of="\d">.*?</li>', top, re.DOTALL)[:2]
    assert "the error comes from transformer.layers.4, node MatMul_7 (MatMul)" in first
    assert "scaled by 1.01" in first
    command = '<code>vampnet-onnx localise artifacts/v1 <span class="option">--case</span>'
    assert f"{command} c2f-b2-l173</code>" in first
    links = dict(re.findall(r'<a href="#([^"]+)">([^<]+)</a>', first))
    assert list(links.values()) == [
        "error over depth",
        "heat map",
        "case c2f-b2-l173",
        "gates",
    ]
    ids = {a["id"]: tag for tag, a in Page(html).tags if "id" in a}
    assert [ids[name] for name in links] == ["h3", "h3", "tr", "h3"]
    # What only follows from it takes no room of the first screen.
    assert "a consequence of c2f" in second
    assert "1 component more, which only follows" in " ".join(Page(top).text.split())
    assert top.index("<details>", top.index(second) - 300) < top.index(second)


def test_the_run_is_told_at_the_top() -> None:
    page = Page(render_html(explained_report())).text
    facts = page[: page.index("Components Component")]
    for fact in ("2026-02-03 04:05 UTC", "2 min 10 s", "0123456789", "v2", "9000, 2 cores"):
        assert fact in facts, fact
    text = render_markdown(explained_report()).partition("<details>")[0]
    assert "2026-02-03 04:05 UTC, took 2 min 10 s on Some Processor 9000" in text
    assert "Last verified version before this v2" in facts
    assert "last verified version before this: v2" in text


def test_what_a_matrix_checked_are_cells() -> None:
    told = matrix_report()
    assert "Checked 2 cells," in Page(render_html(told)).text
    parts = [told.components[0].model_copy(update={"name": f"c{i}"}) for i in range(5)]
    failed = told.model_copy(update={"components": parts})
    assert "2 cells more" in Page(render_html(failed)).text
    assert "- and 2 cells more, below" in render_markdown(failed)


def test_filters_are_there_for_whoever_runs_the_script_and_only_then() -> None:
    report = explained_report()
    tags = Page(render_html(report)).tags
    assert [a for tag, a in tags if tag == "form"] == [{"class": "filter", "hidden": None}]
    assert [a["name"] for tag, a in tags if tag == "select"] == [
        "component",
        "verdict",
        "metric",
    ]
    assert "hidden" not in {name for tag, a in tags for name in a if tag != "form"}
    gates = [a["data-metric"] for tag, a in tags if tag == "tr" and "data-metric" in a]
    assert sorted(gates) == sorted(g.name for p in report.components for g in p.gates)
    rows = [a["data-verdict"] for tag, a in tags if tag == "tr" and "data-verdict" in a]
    assert len(rows) == len(gates) + sum(len(p.cases) for p in report.components)


def test_markdown_is_short_above_the_fold_whatever_failed() -> None:
    report = explained_report()
    long = "a_name_that_says_a_lot_" * 40
    parts = [
        part.model_copy(
            update={
                "name": f"component_{i}",
                "causes": [
                    c.model_copy(update={"what": long, "command": long}) for c in part.causes
                ],
            }
        )
        for i in range(30)
        for part in report.components
    ]
    told = report.model_copy(update={"components": parts, "notes": [long] * 9, "forms": []})
    for given in (told, report, passing_report()):
        text = render_markdown(given)
        fold = text.partition("<details>")[0]
        assert len(fold.encode()) < 5000
        assert text.count("<details>") == text.count("</details>") > 0
        depth = 0  # all that is below is folded
        for line in text[len(fold) :].splitlines():
            depth += line.count("<details>") - line.count("</details>")
            assert depth >= 1 or line in ("", "</details>"), line
        for part in given.components:
            assert part.id in text
    assert long in text or long in render_markdown(told)


def test_one_component_more_is_one() -> None:
    report = passing_report()
    parts = [report.components[0].model_copy(update={"name": f"c{i}"}) for i in range(17)]
    text = render_markdown(report.model_copy(update={"components": parts}))
    assert "\n1 more component, below." in text and "<summary>1 more component<" in text


def test_excused_gates_are_folded_where_the_verdict_is_a_pass() -> None:
    report = failing_report()
    held = [p for p in report.components if p.verdict != "FAIL"]
    gate = held[0].gates[0].model_copy(update={"verdict": "AMBIGUOUS", "message": "a tie"})
    first = held[0].model_copy(update={"gates": [gate, *held[0].gates[1:]]})
    passed = report.model_copy(
        update={"verdict": Verdict.PASS, "components": [first, *held[1:]]}
    )
    html = render_html(passed)
    top = html[html.index('id="findings"') : html.index("</header>")]
    assert top.index("<details>") < top.index("a tie")


def test_a_page_of_a_whole_set_is_below_two_megabytes() -> None:
    """As many components, cases, gates and metrics as the demo set has, and every figure."""
    coarse = failing_report().components[1]
    metrics = {f"metric_of_some_name_{i}": 1.23e-7 * (i + 1) for i in range(9)}
    cases = [
        coarse.cases[0].model_copy(
            update={
                "id": f"coarse/seed={i}/batch=2/length=150/masked=half",
                "metrics": metrics,
            }
        )
        for i in range(45)
    ]
    heat, scatter = coarse.heat_map, coarse.scatter
    assert heat is not None and scatter is not None
    cells = [row[:80] for row in heat.values[:4]]
    drawn = heat.model_copy(update={"rows": heat.rows[:4], "values": cells})
    many = scatter.model_copy(
        update={"reference": scatter.reference * 4, "export": scatter.export * 4}
    )
    update = {"cases": cases, "heat_map": drawn, "scatter": many, "gates": coarse.gates * 2}
    parts = [coarse.model_copy(update={**update, "name": f"component_{i}"}) for i in range(16)]
    page = render_html(failing_report().model_copy(update={"components": parts}))
    assert len(page.encode()) < 1_750_000  # room is left for what else a report may hold


def test_a_matrix_of_a_whole_set_tells_at_length_of_what_did_not_pass_alone() -> None:
    """As many rows, gates and cases as the demo set has, on every runtime there is."""
    report = matrix_report()
    wrong, right = report.components
    assert report.runtimes is not None and right.verdict is Verdict.PASS
    cases = [right.cases[0].model_copy(update={"id": f"x/seed={i}"}) for i in range(8)]
    gates = (right.gates * 6)[:6]
    many = {"cases": cases, "gates": gates}
    names = [f"runtime{i}" for i in range(11)]
    cells = [
        right.model_copy(update={**many, "name": f"audio_processor_{i}", "runtime": name})
        for i in range(21)
        for name in names
    ]
    columns = [report.runtimes.columns[0].model_copy(update={"name": name}) for name in names]
    rows = [f"audio_processor_{i}.fp16" for i in range(21)]
    table = report.runtimes.model_copy(update={"columns": columns, "rows": rows})
    told = report.model_copy(update={"components": [wrong, *cells], "runtimes": table})
    page, text = render_html(told), render_markdown(told)
    assert len(page.encode()) < 1_750_000
    for cell in cells:
        assert cell.id in page and cell.id not in text
    assert "x/seed=0" not in page, "what passes needs no list of its cases"
    assert wrong.id in text and "1 cell that did not pass" in text
    for whole in (page, text):  # a file is told once, not once a runtime
        assert whole.count(right.sha256) <= len(rows) + 1


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_three_runtimes_fit_beside_the_rows_on_a_telephone(tmp_path: Path) -> None:
    report = matrix_report()
    wrong, right = report.components
    assert report.runtimes is not None
    cells = [right.model_copy(update={"runtime": f"runtime{i}"}) for i in range(6)]
    columns = [
        report.runtimes.columns[0].model_copy(update={"name": c.runtime}) for c in cells
    ]
    table = report.runtimes.model_copy(update={"columns": columns})
    told = report.model_copy(update={"components": [wrong, *cells], "runtimes": table})
    (tmp_path / "telephone.html").write_text(
        f"""<iframe width="400" height="900" srcdoc="{escape(render_html(told))}"></iframe>
        <script>onload = () => {{
          const page = document.querySelector("iframe").contentDocument;
          const edge = page.querySelector(".matrix").parentNode.getBoundingClientRect().right;
          const heads = [...page.querySelectorAll(".matrix thead th")];
          const seen = heads.filter((head) => head.getBoundingClientRect().right <= edge);
          document.title = `${{seen.length - 1}} of ${{heads.length - 1}} fit`;
        }}</script>""",
        "utf-8",
    )
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=800,1000"]
    page = (tmp_path / "telephone.html").as_uri()
    found = subprocess.run([*words, page], capture_output=True, text=True, timeout=100)
    seen = re.search(r"<title>(\d) of 6 fit", found.stdout)
    assert seen, found.stderr
    assert int(seen[1]) >= 3
