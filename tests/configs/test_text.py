"""Names of files that are no text."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vampnet_onnx.configs.text import as_text, has_control, is_text, quoted

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)


@settings(deadline=None)
@given(NAMES)
def test_every_name_can_be_written_as_text(name: bytes) -> None:
    shown = as_text(os.fsdecode(name))
    shown.encode()
    assert (shown == os.fsdecode(name)) == is_text(os.fsdecode(name))


def test_text_is_left_as_it_is() -> None:
    assert as_text("Müsik") == quoted("M") + "üsik" == "Müsik"
    assert quoted("it's") == shlex.quote("it's")
    assert as_text(os.fsdecode(b"M\xfcsik")) == r"M\xfcsik"
    assert as_text("\ud800") == r"\ud800"


@pytest.mark.parametrize(
    "name", [b"caf\xe9 it's", b"\xff\\x41", b"a\nb\x80", b"$HOME \xfe`ls`"]
)
def test_a_shell_reads_a_quoted_name_as_it_is(name: bytes) -> None:
    line = f"printf %s {quoted(os.fsdecode(name))}"
    assert line.isascii()
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert said == name


def test_what_cannot_stand_in_a_line_is_told() -> None:
    assert not has_control("Müsik\u3000zwei")
    assert all(map(has_control, ("a\nb", "a\x1bb", "\x9b", "a\u2028b")))
