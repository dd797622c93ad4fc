"""Folders of checkpoints: any subset that fits, LoRA files for what is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkpoint_files import copy_of, lora_of, refusal, saved
from tests.support.sets import NANO
from vampnet_onnx.models import check_set, lora_owner, open_models
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file


@pytest.mark.parametrize("rank", [8, 3])
def test_a_lora_file_is_known_to_belong_to_a_transformer_by_its_shapes(
    nano: Path, tmp_path: Path, rank: int
) -> None:
    overlay = {
        key: (value[:rank] if key.endswith("lora_A") else value[:, :rank]).clone()
        for key, value in lora_of(nano).items()
    }
    assert lora_owner(nano, saved(overlay, tmp_path / "lora.pth")) == "coarse"


def test_a_lora_file_that_fits_no_transformer_or_both_needs_a_name(
    nano: Path, tmp_path: Path
) -> None:
    overlay = lora_of(nano)
    path = saved(overlay, tmp_path / "lora.pth")
    alike = copy_of(nano, tmp_path / "alike")
    (alike / "c2f.pth").unlink()
    kwargs = {**NANO["c2f"], "embedding_dim": 21, "n_heads": 3}
    write_random_file(alike / "c2f.pth", kwargs, seed=0)
    said = refusal(path, lambda lora: lora_owner(alike, lora))
    assert "both" in said and "coarse=FILE" in said
    del overlay["transformer.layers.0.feed_forward.w_2.lora_B"]
    said = refusal(saved(overlay, path), lambda lora: lora_owner(nano, lora))
    assert "none" in said and "coarse=FILE" in said


def test_a_lora_file_for_a_model_that_is_not_there_is_refused(
    nano: Path, tmp_path: Path
) -> None:
    folder = copy_of(nano, tmp_path / "set")
    (folder / "coarse.pth").unlink()
    (folder / "c2f.pth").unlink()
    path = saved(lora_of(nano), tmp_path / "style.pth")
    message = refusal(path, lambda lora: open_models(folder, lora={"coarse": lora}))
    assert "a LoRA file was given for coarse" in message


def test_a_lora_file_is_among_the_sources(nano: Path, tmp_path: Path) -> None:
    path = saved(lora_of(nano), tmp_path / "style.pth")
    found = open_models(nano, lora={"coarse": path})
    names = [source.name for source in found.sources]
    assert names == ["codec.pth", "coarse.pth", "style.pth", "c2f.pth"]


@pytest.mark.parametrize(
    "present",
    [
        ("codec",),
        ("coarse",),
        ("c2f",),
        ("codec", "coarse"),
        ("codec", "c2f"),
        ("coarse", "c2f"),
        ("codec", "coarse", "c2f"),
    ],
)
def test_a_folder_may_hold_any_subset(
    nano: Path, tmp_path: Path, present: tuple[str, ...]
) -> None:
    for name in present:
        shutil.copy(nano / f"{name}.pth", tmp_path)
    (tmp_path / "wavebeat.pth").write_bytes(b"not looked at")
    found = open_models(tmp_path)
    assert check_set(tmp_path) == list(present)
    assert (found.codec is not None) == ("codec" in present)
    assert set(found.transformers) == set(present) - {"codec"}
    assert [source.name for source in found.sources] == [f"{name}.pth" for name in present]


def test_an_empty_folder_names_what_was_looked_for_and_the_way_out(tmp_path: Path) -> None:
    message = refusal(tmp_path, open_models)
    assert "none of codec.pth, coarse.pth, c2f.pth" in message and "fetch" in message


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere", open_models)
    (tmp_path / "file").touch()
    assert "no such folder" in refusal(tmp_path / "file", open_models)
    refusal(tmp_path / ("x" * 300), open_models)


@pytest.mark.parametrize(
    "name, changed, words",
    [
        ("coarse", {"vocab_size": 13}, "vocab_size 13 against codebook_size 11"),
        ("coarse", {"latent_dim": 4}, "latent_dim 4 against codebook_dim 5"),
        ("c2f", {"n_codebooks": 4}, "4 codebooks against 3"),
        ("codec", {"codebook_dim": [5, 6, 5]}, "latent_dim 5 against codebook_dim 5, 6"),
        ("codec", {"codebook_size": 12}, "vocab_size 11 against codebook_size 12"),
        ("c2f", {"n_conditioning_codebooks": 1}, "they are not a pair"),
        ("coarse", {"n_codebooks": 1}, "they are not a pair"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_files_that_do_not_fit_each_other_are_refused(
    nano: Path, tmp_path: Path, name: str, changed: dict[str, Any], words: str
) -> None:
    folder = copy_of(nano, tmp_path / "set")
    write_random_file(folder / f"{name}.pth", NANO[name] | changed, seed=1)
    assert words in refusal(folder, open_models)


def test_a_bad_transformer_is_refused_even_where_only_the_codec_is_wanted(
    nano: Path, tmp_path: Path
) -> None:
    folder = copy_of(nano, tmp_path / "set")
    (folder / "c2f.pth").write_bytes(b"")
    assert "c2f.pth" in refusal(folder, lambda path: open_models(path, only=()))
