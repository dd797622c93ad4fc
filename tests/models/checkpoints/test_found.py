"""Which files of a folder are the networks: by name, or as a training run leaves them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.checkpoint_files import content_of, copy_of, lora_of, refusal, saved
from tests.support.runs import training_run
from vampnet_onnx.models import Checkpoints, open_models


def test_a_training_run_is_opened_with_the_codec_it_is_given(
    nano: Path, tmp_path: Path
) -> None:
    run = training_run(nano, tmp_path / "runs" / "mine")
    (run / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (run / "coarse" / "log.txt").touch()
    found = open_models(run, codec=nano / "codec.pth")
    expected = open_models(nano)
    for name, model in found.transformers.items():
        other = expected.transformers[name].state_dict()
        assert all(torch.equal(v, other[k]) for k, v in model.state_dict().items())
    assert [(s.role, s.name) for s in found.sources] == [
        ("codec", "codec.pth"),
        ("coarse", "coarse/latest/vampnet/weights.pth"),
        ("c2f", "c2f/latest/vampnet/weights.pth"),
    ]


def test_the_best_tag_is_taken_where_there_is_no_latest(nano: Path, tmp_path: Path) -> None:
    run = training_run(nano, tmp_path / "run", tags=("latest", "best"))
    shutil.rmtree(run / "c2f" / "latest")
    names = [source.name for source in open_models(run, codec=nano / "codec.pth").sources]
    assert names[1:] == ["coarse/latest/vampnet/weights.pth", "c2f/best/vampnet/weights.pth"]


def test_other_tags_alone_are_listed(nano: Path, tmp_path: Path) -> None:
    run = training_run(nano, tmp_path / "run", tags=("10k", "50k"))
    said = refusal(run, open_models)
    assert "without latest or best" in said and "10k, 50k to latest" in said


def test_a_lora_file_beside_weights_that_hold_it_changes_nothing(
    nano: Path, tmp_path: Path
) -> None:
    """The published trainer writes the same tensors into both."""
    run = training_run(nano, tmp_path / "run", lora="own")
    assert Checkpoints(run).lora == {}


def test_another_lora_file_beside_the_weights_is_laid_over_them_and_said(
    nano: Path, tmp_path: Path
) -> None:
    run = training_run(nano, tmp_path / "run", lora="other")
    models = open_models(run, only=["coarse"])
    key = "transformer.layers.0.feed_forward.w_2.lora_B"
    assert torch.equal(models.transformers["coarse"].get_parameter(key), lora_of(nano)[key])
    beside = models.sources[-1]
    assert (beside.role, beside.name) == ("lora", "coarse/latest/lora.pth")
    assert beside.prefix == "_orig_mod."
    assert "laid over the weights beside it" in beside.note and "_orig_mod." in beside.note
    given = saved(lora_of(nano), tmp_path / "style.pth")
    assert Checkpoints(run, {"coarse": given}).lora == {"coarse": given}


def test_a_folder_inside_a_run_is_sent_to_the_run(nano: Path, tmp_path: Path) -> None:
    run = training_run(nano, tmp_path / "run")
    for inside in ("coarse", "coarse/latest", "c2f/latest/vampnet"):
        assert f"coarse and c2f: {run}" in refusal(run / inside, open_models)


def test_a_folder_may_hold_safetensors(nano: Path, tmp_path: Path) -> None:
    folder = copy_of(nano, tmp_path / "set")
    content = content_of(nano, "coarse")
    header = {"kwargs": json.dumps(content["metadata"]["kwargs"])}
    save_file(content["state_dict"], folder / "coarse.safetensors", header)
    said = refusal(folder, open_models)
    assert "coarse.pth and coarse.safetensors are both the weights of coarse" in said
    (folder / "coarse.pth").unlink()
    sources = open_models(folder).sources
    assert [s.name for s in sources] == ["codec.pth", "coarse.safetensors", "c2f.pth"]


def test_weights_of_a_run_beside_weights_by_name_are_refused(
    nano: Path, tmp_path: Path
) -> None:
    run = training_run(nano, tmp_path / "run")
    shutil.copy(nano / "coarse.pth", run)
    said = refusal(run, open_models)
    assert "coarse.pth and coarse/latest/vampnet/weights.pth are both" in said


@pytest.mark.parametrize("name", ["weights.pth", "model.ckpt", "coarse.pt", "model.bin"])
def test_weights_by_another_name_are_listed(nano: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(nano / "coarse.pth", tmp_path / name)
    said = refusal(tmp_path, open_models)
    assert f"but {name}; call each file after its network" in said
    assert "a file, not a folder" in refusal(tmp_path / name, open_models)


def test_a_codec_that_is_given_takes_the_place_of_the_folders_own(
    nano: Path, tmp_path: Path
) -> None:
    other = tmp_path / "mine.pth"
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.bias"] += 1
    saved(content, other)
    found = open_models(nano, codec=other)
    assert found.codec is not None
    bias = found.codec.state_dict()["encoder.block.0.bias"]
    assert torch.equal(bias, content["state_dict"]["encoder.block.0.bias"])
    assert (found.sources[0].role, found.sources[0].name) == ("codec", "mine.pth")
    (tmp_path / "empty").mkdir()
    said = refusal(tmp_path / "empty", lambda folder: Checkpoints(folder, codec=other))
    assert "none of coarse.pth, c2f.pth" in said
    said = refusal(tmp_path / "absent.pth", lambda path: Checkpoints(nano, codec=path))
    assert "no such file" in said


def test_a_file_that_is_given_goes_by_its_own_name_wherever_it_lies(
    nano: Path, tmp_path: Path
) -> None:
    folder = copy_of(nano, tmp_path / "set")
    style = saved(lora_of(nano), folder / "lora" / "style.pth")
    (folder / "codec.pth").rename(folder / "lora" / "codec.pth")
    codec = folder / "lora" / "codec.pth"
    sources = open_models(folder, lora={"coarse": style}, codec=codec, only=["coarse"]).sources
    assert [s.name for s in sources] == ["codec.pth", "coarse.pth", "style.pth"]
    assert [s.note for s in sources] == ["", "", ""]
