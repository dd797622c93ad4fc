"""Copies that the published packages open: under their names, in their format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.checkpoint_files import content_of, lora_of, saved
from vampnet_onnx.models.checkpoints.published_copy import published_copy


def test_a_file_that_they_open_is_handed_on_as_it_is(nano: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.pth"
    for name in ("codec", "coarse"):
        path = nano / f"{name}.pth"
        assert published_copy(path, target, role=name) == path
    lora = saved(lora_of(nano), tmp_path / "style.pth")
    assert published_copy(lora, target, role="lora") == lora
    assert not target.exists()


@pytest.mark.parametrize("kind", ["prefixed", "unsaid", "safetensors", "weight norm"])
def test_a_file_that_they_do_not_open_is_copied_under_their_names(
    nano: Path, tmp_path: Path, kind: str
) -> None:
    content = content_of(nano, "coarse")
    state, kwargs = content["state_dict"], content["metadata"]["kwargs"]
    path = tmp_path / "coarse.pth"
    if kind == "prefixed":
        content["state_dict"] = {f"module._orig_mod.{k}": v for k, v in state.items()}
    elif kind == "unsaid":
        del kwargs["flash_attn"]
    elif kind == "weight norm":
        old, new = "classifier.layers.0.weight_g", "classifier.layers.0.parametrizations"
        content["state_dict"] = {
            key.replace(old, f"{new}.weight.original0"): value for key, value in state.items()
        }
    saved(content, path)
    if kind == "safetensors":
        path = tmp_path / "coarse.safetensors"
        save_file(state, path, {"kwargs": json.dumps(kwargs)})
    copied = torch.load(
        published_copy(path, tmp_path / "copy.pth", role="coarse"), weights_only=True
    )
    assert copied["metadata"]["kwargs"]["flash_attn"] is False
    assert copied["state_dict"].keys() == state.keys()
    assert all(torch.equal(copied["state_dict"][key], state[key]) for key in state)


def test_a_lora_file_of_a_compiled_model_is_copied_bare(nano: Path, tmp_path: Path) -> None:
    behind = {f"_orig_mod.{key}": value for key, value in lora_of(nano).items()}
    path = saved(behind, tmp_path / "lora.pth")
    copied = torch.load(
        published_copy(path, tmp_path / "copy.pth", role="lora"), weights_only=True
    )
    assert copied.keys() == lora_of(nano).keys()
