"""A bench as a page and as data."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

from tests.support.html_page import Page
from tests.support.timings_samples import sample_bench
from vampnet_onnx.reports.timings import Bench
from vampnet_onnx.reports.timings_page import (
    NARROW,
    has_bench,
    phase_bars,
    ratio_axis,
    render_bench,
    write_bench,
)
from vampnet_onnx.reports.timings_text import UNCLEAR


def test_the_page_asks_for_nothing_and_says_everything() -> None:
    html = render_bench(sample_bench(stopped="interrupted"))
    assert not re.search(r"https?:|url\s*\(|@import|<script|<img|<link", html)
    text = Page(html).text
    for word in ("1.25 (1.24 to 1.26)", UNCLEAR, "interrupted", "A processor", "3.21 GB"):
        assert word in text
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_hostile_names_are_text() -> None:
    html = render_bench(sample_bench(name="<script>alert(1)</script>"))
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_ratios_are_marks_at_their_places() -> None:
    bench = sample_bench()
    axis = ratio_axis(bench.rows, ["onnx", "torch", "beside"])
    assert axis is not None
    clear, unclear = axis.marks[:2]
    assert clear.clear and clear.low < clear.at < clear.high and clear.low > axis.one
    assert not unclear.clear and unclear.low < axis.one < unclear.high
    # A row without a ratio is not in the plot.
    assert [text for _, text in axis.labels][-1] == "vamp: total" and len(axis.labels) == 4
    assert ratio_axis(bench.rows[-1:], ["onnx"]) is None


def test_a_narrow_page_has_a_plot_of_its_own_whose_texts_are_as_large() -> None:
    bench = sample_bench()
    narrow = ratio_axis(bench.rows, ["onnx", "torch", "beside"], NARROW)
    assert narrow is not None and narrow.at.width <= 372  # of 400 px, what margins leave
    label, mark = narrow.labels[0][0], narrow.marks[0].y
    assert mark - label > 11  # labels stand over their marks
    ticks = sorted(x for x, _ in narrow.ticks)
    assert all(b - a >= 24 for a, b in itertools.pairwise(ticks))
    html = render_bench(bench)
    assert html.count('<svg class="wide"') == html.count('<svg class="narrow"') == 1
    assert 'data-label="median"' in html


def test_bars_are_phases_end_to_end() -> None:
    onnx, torch = phase_bars([row for row in sample_bench().rows if row.part == "vamp"])
    assert [(at, took) for at, took, _, _ in onnx.pieces] == [(0.0, 2.0), (2.0, 3.0)]
    assert sum(took for _, took, _, _ in torch.pieces) == 6.25


def test_data_and_page_are_written_together(tmp_path: Path) -> None:
    assert not has_bench(tmp_path)
    bench = sample_bench()
    page = write_bench(bench, tmp_path)
    assert page.read_text("utf-8") == render_bench(bench) and has_bench(tmp_path)
    written = (tmp_path / "bench.json").read_text("utf-8")
    assert Bench.model_validate_json(written) == bench
    ratios = [t["ratio"] for row in json.loads(written)["rows"] for t in row["timings"]]
    assert ratios[0] is None and ratios[1]["value"] == 1.25 and ratios[2]["value"] is None
