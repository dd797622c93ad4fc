"""A checkpoint or a LoRA file arrives whole, or is refused in one message."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.checkpoint_files import (
    audio,
    content_of,
    load,
    lora_of,
    plain_coarse,
    refusal,
    saved,
)
from tests.support.sets import NANO
from vampnet_onnx.models import load_vampnet, read_checkpoint, read_lora


@pytest.mark.parametrize(
    "content",
    [
        torch.zeros(3),
        [1, 2],
        "text",
        7,
        None,
        {},
        {"weights": {}},
        {"state_dict": [1]},
        {"state_dict": None},
        OrderedDict(a=torch.zeros(1)),
        {"model": {"state_dict": {}}},
    ],
)
def test_content_without_a_state_dict_is_no_checkpoint(
    tmp_path: Path, content: object
) -> None:
    assert "no 'state_dict' inside" in refusal(saved(content, tmp_path / "codec.pth"))


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"kwargs": None}, {"kwargs": [1]}, {"args": {}}, "kwargs", torch.zeros(2)],
)
def test_metadata_without_kwargs_is_refused(
    nano: Path, tmp_path: Path, metadata: object
) -> None:
    content = content_of(nano, "codec") | {"metadata": metadata}
    assert "no metadata.kwargs" in refusal(saved(content, tmp_path / "codec.pth"))
    del content["metadata"]
    assert "no metadata.kwargs" in refusal(saved(content, tmp_path / "codec.pth"))


@pytest.mark.parametrize("name", ["codec", "coarse", "c2f"])
def test_every_missing_unexpected_and_misshapen_key_is_named(
    nano: Path, tmp_path: Path, name: str
) -> None:
    content = content_of(nano, name)
    state = content["state_dict"]
    gone, gone_too, bent = list(state)[1], list(state)[-1], list(state)[2]
    shape = tuple(state[bent].shape)
    del state[gone], state[gone_too]
    state[bent] = torch.ones(*shape, 2)
    state["stray.weight"] = torch.zeros(3)
    message = refusal(saved(content, tmp_path / f"{name}.pth"))
    assert "missing keys: 2" in message and gone in message and gone_too in message
    assert "unexpected keys: 1 (stray.weight)" in message
    assert f"misshapen keys: 1 ({bent} is {(*shape, 2)}, should be {shape})" in message


def test_a_list_of_many_keys_is_cut_but_counted(nano: Path, tmp_path: Path) -> None:
    content = content_of(nano, "codec")
    content["state_dict"] |= {f"stray.{i}": torch.zeros(1) for i in range(500)}
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "unexpected keys: 500" in message and "and 460 more" in message


@pytest.mark.parametrize("given, asked", [("codec", "coarse"), ("coarse", "codec")])
def test_one_kind_of_checkpoint_under_the_name_of_another_is_refused(
    nano: Path, tmp_path: Path, given: str, asked: str
) -> None:
    shutil.copy(nano / f"{given}.pth", tmp_path / f"{asked}.pth")
    message = refusal(tmp_path / f"{asked}.pth")
    assert f"{asked}.pth: " in message


def test_every_key_of_the_file_is_consumed(nano: Path) -> None:
    """Each tensor of the file arrives under its own name, bit for bit."""
    for name in NANO:
        given = content_of(nano, name)["state_dict"]
        loaded = load(nano / f"{name}.pth").state_dict()
        assert set(loaded) == set(given) and given
        for key, value in given.items():
            assert torch.equal(loaded[key], value), key


def test_new_style_weight_norm_keys_give_the_same_outputs(nano: Path, tmp_path: Path) -> None:
    for name in ("codec", "coarse"):
        content = content_of(nano, name)
        content["state_dict"] = {
            key.replace(".weight_g", ".parametrizations.weight.original0").replace(
                ".weight_v", ".parametrizations.weight.original1"
            ): value
            for key, value in content["state_dict"].items()
        }
        renamed = saved(content, tmp_path / f"{name}.pth")
        assert not any("weight_g" in key for key in content["state_dict"])
        assert any("original0" in key for key in content["state_dict"])
        old, new = load(nano / f"{name}.pth").state_dict(), load(renamed).state_dict()
        assert all(torch.equal(old[key], new[key]) for key in old) and set(old) == set(new)
    old_codec, new_codec = load(nano / "codec.pth"), load(tmp_path / "codec.pth")
    codes = old_codec.encode(audio()).codes
    assert torch.equal(new_codec.encode(audio()).codes, codes)
    assert torch.equal(new_codec.decode_codes(codes), old_codec.decode_codes(codes))


def test_a_label_of_any_kind_never_breaks_reading(nano: Path, tmp_path: Path) -> None:
    content = content_of(nano, "codec")
    content["metadata"]["random_weights"] = torch.ones(3)
    assert read_checkpoint(saved(content, tmp_path / "codec.pth")).label == "random"


# LoRA.


def expected_with(nano: Path, overlay: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the merged weights, W + B A / rank with alpha 1, formed by hand."""
    state = content_of(nano, "coarse")["state_dict"]
    merged = {}
    for key in overlay:
        if key.endswith(".lora_A"):
            stem = key.removesuffix(".lora_A")
            a, b = overlay[key], overlay[stem + ".lora_B"]
            merged[stem] = state[stem + ".weight"] + (b @ a) / a.shape[0]
    return merged


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "state_dict"])
@pytest.mark.parametrize("base", ["with-lora", "without-lora"])
def test_a_lora_file_replaces_the_checkpoints_own_update(
    nano: Path, tmp_path: Path, base: str, wrapped: bool
) -> None:
    overlay = lora_of(nano)
    path = saved({"state_dict": overlay} if wrapped else overlay, tmp_path / "style.pth")
    checkpoint = nano / "coarse.pth"
    if base == "without-lora":
        checkpoint = plain_coarse(nano, tmp_path / "coarse.pth")
    model = load_vampnet(read_checkpoint(checkpoint), lora=read_lora(path))
    expected = expected_with(nano, overlay)
    assert expected
    for stem, weight in expected.items():
        found = model.get_submodule(stem).merged_weight()
        torch.testing.assert_close(found, weight, rtol=1e-6, atol=1e-6)


def test_a_lora_file_may_have_another_rank_than_the_checkpoint(
    nano: Path, tmp_path: Path
) -> None:
    overlay = {
        key: value[:3] if key.endswith("lora_A") else value[:, :3].contiguous()
        for key, value in lora_of(nano).items()
    }
    overlay = {key: value.clone() for key, value in overlay.items()}
    path = saved(overlay, tmp_path / "style.pth")
    model = load_vampnet(read_checkpoint(nano / "coarse.pth"), lora=read_lora(path))
    expected = expected_with(nano, overlay)
    assert expected
    for stem, weight in expected.items():
        found = model.get_submodule(stem).merged_weight()
        torch.testing.assert_close(found, weight, rtol=1e-6, atol=1e-6)


def _drop_half(overlay: dict[str, torch.Tensor]) -> None:
    for key in list(overlay)[::2]:
        del overlay[key]


def _drop_one(overlay: dict[str, torch.Tensor]) -> None:
    del overlay["transformer.layers.0.feed_forward.w_2.lora_B"]


def _bend(overlay: dict[str, torch.Tensor]) -> None:
    overlay["transformer.layers.0.feed_forward.w_2.lora_B"] = torch.zeros(3, 3)


def _stray(overlay: dict[str, torch.Tensor]) -> None:
    overlay["transformer.layers.0.self_attn.w_ks.lora_A"] = torch.zeros(8, 21)


def _weight(overlay: dict[str, torch.Tensor]) -> None:
    overlay["transformer.norm.weight"] = torch.zeros(21)


def _nan(overlay: dict[str, torch.Tensor]) -> None:
    overlay["transformer.layers.0.feed_forward.w_2.lora_B"][0, 0] = float("nan")


@pytest.mark.parametrize(
    "damage, words",
    [
        (_drop_half, "missing keys"),
        (_drop_one, "missing keys: 1 (transformer.layers.0.feed_forward.w_2.lora_B)"),
        (_bend, "misshapen keys: 1 (transformer.layers.0.feed_forward.w_2.lora_B"),
        (_stray, "unexpected keys: 1 (transformer.layers.0.self_attn.w_ks.lora_A)"),
        (_weight, "holds only *.lora_A and *.lora_B keys, but this one has transformer.norm"),
        (_nan, "NaN or infinite weights in transformer.layers.0.feed_forward.w_2.lora_B"),
        (dict.clear, "no tensors inside"),
    ],
)
def test_a_lora_file_that_does_not_fit_is_refused(
    nano: Path, tmp_path: Path, damage: Callable[[dict[str, torch.Tensor]], None], words: str
) -> None:
    overlay = lora_of(nano)
    damage(overlay)
    path = saved(overlay, tmp_path / "style.pth")
    checkpoint = read_checkpoint(nano / "coarse.pth")
    message = refusal(path, lambda lora: load_vampnet(checkpoint, lora=read_lora(lora)))
    assert message.startswith(str(path)) and words in message


@pytest.mark.parametrize("content", [torch.zeros(2), [], None, {"state_dict": {}}, "lora"])
def test_a_lora_file_without_tensors_is_refused(tmp_path: Path, content: object) -> None:
    assert "not a LoRA file" in refusal(saved(content, tmp_path / "style.pth"), read_lora)


def test_a_checkpoint_without_lora_keys_loads(nano: Path, tmp_path: Path) -> None:
    path = plain_coarse(nano, tmp_path / "coarse.pth")
    model = load(path)
    assert not any(".lora_" in name for name, _ in model.named_parameters())
    with_lora = load(nano / "coarse.pth").named_parameters()
    assert any(".lora_" in name for name, _ in with_lora)


def test_a_checkpoint_with_part_of_its_lora_keys_is_refused(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "coarse")
    gone = "transformer.layers.0.self_attn.fc.lora_A"
    del content["state_dict"][gone]
    message = refusal(saved(content, tmp_path / "coarse.pth"))
    assert f"missing keys: 1 ({gone})" in message


def test_a_checkpoint_with_only_the_b_half_of_its_lora_keys_is_refused(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "coarse")
    for key in [key for key in content["state_dict"] if key.endswith("lora_A")]:
        del content["state_dict"][key]
    message = refusal(saved(content, tmp_path / "coarse.pth"))
    assert "missing keys: 5" in message


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "module.module."],
)
def test_what_a_wrapper_put_before_every_key_is_taken_off(
    nano: Path, tmp_path: Path, prefix: str
) -> None:
    content = content_of(nano, "coarse")
    state = content["state_dict"]
    content["state_dict"] = {f"{prefix}{key}": value for key, value in state.items()}
    found = read_checkpoint(saved(content, tmp_path / "coarse.pth"))
    assert found.prefix == prefix and found.state.keys() == state.keys()
    load_vampnet(found)
    behind = {f"{prefix}{key}": value for key, value in lora_of(nano).items()}
    overlay = read_lora(saved(behind, tmp_path / "lora.pth"))
    assert overlay.prefix == prefix and overlay.state.keys() == lora_of(nano).keys()
    assert read_checkpoint(nano / "coarse.pth").prefix == ""


def test_a_prefix_that_only_some_keys_carry_is_not_taken_off(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "coarse")
    first, *rest = content["state_dict"].items()
    content["state_dict"] = {first[0]: first[1], **{f"module.{k}": v for k, v in rest}}
    assert f"module.{rest[0][0]}" in refusal(saved(content, tmp_path / "coarse.pth"))
