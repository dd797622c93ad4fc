"""The report as a page and as Markdown: nothing is hidden, hostile text is text."""

from __future__ import annotations

import re

import pytest

from tests.support.html_page import Page
from tests.support.report_samples import (
    SAMPLES,
    Sample,
    every_sample,
    failing_report,
    hostile_report,
)
from vampnet_onnx.reports.pages import render_html, render_markdown


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
    assert links and labels and links | labels <= {f"#{name}" for name in ids}


def test_hostile_text_is_text_in_the_page() -> None:
    page = Page(render_html(hostile_report()))
    assert "script" not in {tag for tag, _ in page.tags}
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
