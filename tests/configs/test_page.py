"""The page of configuration keys is that of the code, and says something of every key."""

from __future__ import annotations

from tests.support.command_line import ROOT
from vampnet_onnx.configs.page import page


def test_the_page_in_docs_is_that_of_the_code() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text("utf-8") == page()


def test_no_key_is_without_words() -> None:
    rows = [line for line in page().splitlines() if line.startswith("| `")]
    assert "| `opset` | `20` | Of ONNX, 18 to 23; 23 needs ONNX Runtime 1.23. |" in rows
    assert not [row for row in rows if "| None |" in row]
