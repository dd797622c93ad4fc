"""Stages: losses fall, and what is written is a checkpoint set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.support.nano_recipe import TINY, nano_recipe, silent
from training import stages
from training.quality import measure
from training.stages import UNFINISHED, lora_file, train_stage
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.models import (
    Checkpoints,
    load_vampnet,
    open_models,
    read_checkpoint,
    read_lora,
)


@pytest.mark.parametrize("name", ["codec", "coarse", "c2f", "wavebeat"])
def test_the_loss_falls(trained: Path, name: str) -> None:
    losses = json.loads((trained / "losses" / f"{name}.json").read_text())
    first, *_, last = losses
    assert last < 0.98 * first


def test_a_fine_tune_lowers_the_loss_on_its_style(trained: Path) -> None:
    quality = measure(trained, nano_recipe(), clips=2)
    for lora in quality.lora.values():
        assert lora.cross_entropy_after < lora.cross_entropy_before
    assert set(quality.lora) == set(quality.transformers) == {"coarse", "c2f"}


def test_what_is_written_is_a_whole_set_that_is_not_labelled_as_random(trained: Path) -> None:
    assert Checkpoints(trained).present == ["codec", "coarse", "c2f", "wavebeat"]
    models = open_models(trained)
    assert [source.label for source in models.sources] == [""] * 4
    content = torch.load(trained / "codec.pth", weights_only=True)
    assert content["metadata"]["kwargs"] == TINY["codec"]
    assert "from scratch" in content["metadata"]["trained"]


def test_a_fine_tune_is_a_lora_file_of_its_transformer(trained: Path) -> None:
    path = lora_file(trained, "music-box", "c2f")
    model = load_vampnet(read_checkpoint(trained / "c2f.pth"), lora=read_lora(path))
    base = load_vampnet(read_checkpoint(trained / "c2f.pth"))
    latents = torch.randn(1, 15, 7, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(model(latents), base(latents))


@pytest.mark.parametrize("name", ["coarse", "wavebeat"])
def test_training_again_gives_the_same_weights(
    trained: Path, tmp_path: Path, name: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "sizes", lambda: {"nano": TINY})
        (tmp_path / "codec.pth").write_bytes((trained / "codec.pth").read_bytes())
        train_stage(tmp_path, name, nano_recipe(), progress=silent)
    states = [
        torch.load(f / f"{name}.pth", weights_only=True)["state_dict"]
        for f in (trained, tmp_path)
    ]
    assert list(states[0]) == list(states[1]) and states[0]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_stage_whose_files_are_there_is_not_trained_again(trained: Path) -> None:
    before = (trained / "codec.pth").stat().st_mtime_ns
    train_stage(trained, "codec", nano_recipe(), progress=silent)
    assert (trained / "codec.pth").stat().st_mtime_ns == before


def test_an_interrupt_keeps_what_was_trained_until_then_apart(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def progress(done: int, _total: int, _loss: float) -> None:
        if done == 25:
            raise Interrupted

    monkeypatch.setattr(stages, "sizes", lambda: {"nano": TINY})
    (tmp_path / "codec.pth").write_bytes((trained / "codec.pth").read_bytes())
    with pytest.raises(Interrupted):
        train_stage(tmp_path, "coarse", nano_recipe(), progress=progress)
    assert not (tmp_path / "coarse.pth").exists()  # the next run makes it
    kept = tmp_path / UNFINISHED
    whole = json.loads((trained / "losses" / "coarse.json").read_text())
    assert json.loads((kept / "losses" / "coarse.json").read_text()) == whole[:1]
    load_vampnet(read_checkpoint(kept / "coarse.pth"))
