"""The name that a model has after its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export.options import model_name


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("mine", "mine"),
        ("Mine_2.0-a", "Mine_2.0-a"),
        ("my music", "my-music"),
        ("Müsik (2024)!", "Musik-2024"),
        (os.fsdecode(b"caf\xe9 it's"), "caf-it-s"),
        (".hidden", "hidden"),
        ("x" * 100, "x" * 64),
        ("x" * 63 + " y", "x" * 63),
    ],
)
def test_a_model_is_called_after_its_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert model_name(tmp_path / folder) == name


@pytest.mark.parametrize("folder", ["音楽", "---", os.fsdecode(b"\xff"), "/"])
def test_a_name_of_which_nothing_can_stay_asks_for_one(tmp_path: Path, folder: str) -> None:
    with pytest.raises(InputError, match="give --model NAME"):
        model_name(tmp_path / folder)
