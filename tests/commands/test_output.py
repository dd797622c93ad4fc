"""What says that something is at work, where nobody watches."""

from __future__ import annotations

import time

import pytest

from vampnet_onnx.commands import output
from vampnet_onnx.commands.output import LINE_STARTS, progress_bar


def test_a_line_is_written_once_there_is_something_to_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "FIRST_LINE_S", 0.01)
    monkeypatch.setattr(output, "NEXT_LINE_S", 0.01)
    with progress_bar() as bar:
        time.sleep(0.1)
        bar("coarse", 1, 3)
        lines = ""
        while not lines:
            time.sleep(0.01)
            lines = capsys.readouterr().err
    assert lines.startswith(f"{LINE_STARTS}coarse, 1 of 3 (")


def test_colons_in_a_name_are_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    output.complain("a:x:b is no file")
    assert "a:x:b is no file" in capsys.readouterr().err
