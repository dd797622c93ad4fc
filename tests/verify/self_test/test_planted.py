"""A defect in a copy of artifacts, for which the copy's manifest vouches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Cli, files_below, refused
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.verify.self_test.planted import plant_copy
from vampnet_onnx.verify.self_test.run import chosen_defects


def plant(nano_artifacts: Artifacts, name: str, folder: Path) -> Path:
    return plant_copy(nano_artifacts.folder, chosen_defects([name])[0], folder)


@pytest.mark.parametrize(
    ("name", "file"), [("RowOfNaN", "c2f.onnx"), ("RowTooLoud", "codec_decoder.onnx")]
)
def test_only_the_file_and_its_record_are_others(
    nano_artifacts: Artifacts, tmp_path: Path, name: str, file: str
) -> None:
    folder = tmp_path / "broken"
    assert plant(nano_artifacts, name, folder) == folder / file
    made = open_artifacts(folder)  # whose hashes hold
    others = [
        now.id
        for was, now in zip(
            nano_artifacts.manifest.components, made.manifest.components, strict=True
        )
        if was != now
    ]
    assert others == [file.removesuffix(".onnx")]
    assert files_below(folder) == files_below(nano_artifacts.folder)
    open_artifacts(nano_artifacts.folder)


def test_what_cannot_be_planted_in_a_file_is_refused(
    nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"LayerDropped is made while .*RowOfNaN"):
        plant(nano_artifacts, "LayerDropped", tmp_path / "x")
    with pytest.raises(InputError, match=r"has no sampler, in which CountRoundedUp"):
        plant(nano_artifacts, "CountRoundedUp", tmp_path / "x")
    with pytest.raises(InputError, match=r"c2f\.onnx: has not the place .*layers\.1"):
        plant(nano_artifacts, "NaNAtOnePosition", tmp_path / "x")  # the model has one layer
    assert not (tmp_path / "x").exists()
    (tmp_path / "x").mkdir()
    with pytest.raises(InputError, match="x: exists already"):
        plant(nano_artifacts, "RowOfNaN", tmp_path / "x")


def test_self_test_leaves_it_and_takes_its_options_together(
    cli: Cli, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    artifacts = ("--artifacts", nano_artifacts.folder)
    keep = ("--keep", tmp_path / "broken")
    made = cli("self-test", "--only", "RowOfNaN", *artifacts, *keep)
    assert made.code == 0
    assert f"planted    RowOfNaN in {tmp_path / 'broken' / 'c2f.onnx'}: One row" in made.out
    for words in (artifacts, keep, (*artifacts, *keep), ("--only", "RowOfNaN", *keep)):
        refused(cli("self-test", *words), "--artifacts and --keep go together")
