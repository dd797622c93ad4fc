"""The report as Markdown."""

from __future__ import annotations

import re

from tests.support.report_samples import hostile_report
from vampnet_onnx.reports.markdown import render_markdown


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
