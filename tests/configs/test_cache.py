"""Where things are kept from one run to the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vampnet_onnx.configs.cache import cache_folder


def test_the_folder_is_the_users_unless_another_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VAMPNET_ONNX_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("VAMPNET_ONNX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert cache_folder() == tmp_path / "cache" / "vampnet-onnx"
