"""Whatever a checkpoint file holds, it loads whole or is refused in one clear message."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.errors import InputError
from models import check_set, load_codec, load_vampnet, open_models, read_checkpoint, read_lora
from models.random_checkpoint import sizes, write_random_file, write_random_set
from tests.conftest import NANO

Content = dict[str, Any]
LONGEST_MESSAGE = 6000


def content_of(folder: Path, name: str) -> Content:
    return torch.load(folder / f"{name}.pth", weights_only=True)


def saved(content: object, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def with_kwargs(folder: Path, name: str, path: Path, **changed: Any) -> Path:
    content = content_of(folder, name)
    content["metadata"]["kwargs"] = {**content["metadata"]["kwargs"], **changed}
    return saved(content, path)


def load(path: Path) -> object:
    """Load as codec or transformer, told by the file's name."""
    opened = read_checkpoint(path)
    return load_codec(opened) if path.stem == "codec" else load_vampnet(opened)


def refusal(path: Path, action: Callable[[Path], object] = load) -> str:
    with pytest.raises(InputError) as caught:
        action(path)
    message = str(caught.value)
    assert "\n" not in message and 0 < len(message) < LONGEST_MESSAGE
    return message


def copy_of(nano: Path, target: Path) -> Path:
    return Path(shutil.copytree(nano, target))


def audio() -> torch.Tensor:
    return torch.randn(2, 1, 50, generator=torch.Generator().manual_seed(5)) / 4


# Files that are no checkpoints.


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "codec.pth: no such file" in refusal(tmp_path / "codec.pth")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "codec.pth").mkdir()
    assert "not a file" in refusal(tmp_path / "codec.pth")


def test_a_name_too_long_for_the_file_system_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / ("x" * 300 + ".pth"))


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"hello, I am text\n" * 9, b"PK\x03\x04", b"\x80", b"\x80\x02", b"\x00" * 999,
     b"\x89PNG\r\n\x1a\n", b'{"state_dict": {}}', b"(lp0\n", b"\xff" * 64],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "codec.pth"
    path.write_bytes(data)
    assert "not a checkpoint" in refusal(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.5, 0.9, 0.99, 0.999])
def test_a_truncated_file_is_refused_as_truncated(
    nano: Path, tmp_path: Path, share: float
) -> None:
    data = (nano / "codec.pth").read_bytes()
    path = tmp_path / "codec.pth"
    path.write_bytes(data[: int(len(data) * share)])
    assert "truncated" in refusal(path)


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "codec.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no tensors")
    assert "not a checkpoint" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [torch.zeros(3), [1, 2], "text", 7, None, {}, {"weights": {}}, {"state_dict": [1]},
     {"state_dict": None}, OrderedDict(a=torch.zeros(1)), {"model": {"state_dict": {}}}],
)  # fmt: skip
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


class _RunsCode:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("place", ["weight", "kwargs", "whole"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(
    nano: Path, tmp_path: Path, place: str, zipped: bool
) -> None:
    mark = tmp_path / "it-ran"
    bomb = _RunsCode(f"touch {mark}")
    content = content_of(nano, "codec")
    if place == "weight":
        content["state_dict"]["encoder.block.0.bias"] = bomb
    elif place == "kwargs":
        content["metadata"]["kwargs"]["sample_rate"] = bomb
    path = tmp_path / "codec.pth"
    torch.save(
        bomb if place == "whole" else content, path, _use_new_zipfile_serialization=zipped
    )
    message = refusal(path)
    assert "wants to run code" in message and "system" in message
    assert not mark.exists()


def test_a_bare_pickle_that_wants_to_run_code_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    path = tmp_path / "codec.pth"
    path.write_bytes(pickle.dumps(_RunsCode(f"touch {mark}")))
    refusal(path)
    assert not mark.exists()


# Keys.


@pytest.mark.parametrize("name", ["codec", "coarse", "c2f"])
def test_every_missing_unexpected_and_misshapen_key_is_named(
    nano: Path, tmp_path: Path, name: str
) -> None:
    content = content_of(nano, name)
    state = content["state_dict"]
    gone, gone_too, bent = list(state)[1], list(state)[-1], list(state)[2]
    shape = tuple(state[bent].shape)
    del state[gone], state[gone_too]
    state[bent] = torch.zeros(*shape, 2)
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


@pytest.mark.parametrize("key", [3, ("a", "b"), None])
def test_a_key_that_is_no_name_is_refused(nano: Path, tmp_path: Path, key: object) -> None:
    content = content_of(nano, "codec")
    content["state_dict"][key] = torch.zeros(1)
    assert "not float tensors" in refusal(saved(content, tmp_path / "codec.pth"))


def test_every_key_of_the_file_is_consumed(nano: Path) -> None:
    """Each tensor of the file arrives under its own name, bit for bit."""
    for name in NANO:
        given = content_of(nano, name)["state_dict"]
        loaded = load(nano / f"{name}.pth").state_dict()
        assert set(loaded) == set(given)
        for key, value in given.items():
            assert torch.equal(loaded[key], value), key


# Values.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["codec", "coarse"])
def test_a_single_non_finite_weight_is_refused_by_name(
    nano: Path, tmp_path: Path, name: str, value: float
) -> None:
    content = content_of(nano, name)
    key = list(content["state_dict"])[7]
    content["state_dict"][key].view(-1)[-1] = value
    message = refusal(saved(content, tmp_path / f"{name}.pth"))
    assert f"NaN or infinite weights in {key};" in message


@pytest.mark.parametrize(
    "value",
    [torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.bool), "text", None, 3.5,
     [1.0], torch.zeros(3, dtype=torch.complex64), torch.zeros(3).to_sparse(),
     torch.empty(3, device="meta")],
    ids=["int", "bool", "text", "none", "number", "list", "complex", "sparse", "meta"],
)  # fmt: skip
def test_an_entry_that_is_no_float_tensor_is_refused_by_name(
    nano: Path, tmp_path: Path, value: object
) -> None:
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.bias"] = value
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "not float tensors: encoder.block.0.bias" in message


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_an_eight_bit_float_is_refused_by_name(
    nano: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.bias"] = torch.zeros(3).to(dtype)
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "encoder.block.0.bias" in message


def test_a_tensor_that_claims_more_than_it_stores_is_refused(
    nano: Path, tmp_path: Path
) -> None:
    """One stored number expanded to 4 TB must not be spread out in memory."""
    content = content_of(nano, "codec")
    bomb = torch.zeros(1).expand(1 << 20, 1 << 20)
    content["state_dict"]["encoder.block.0.bias"] = bomb
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "encoder.block.0.bias" in message


def test_a_weight_norm_direction_of_zeros_is_refused_by_name(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "codec")
    content["state_dict"]["encoder.block.0.weight_v"][1] = 0
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "encoder.block.0.weight_v" in message and "zero" in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_load_as_float32_of_the_same_values(
    nano: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    content = content_of(nano, "codec")
    state = {key: value.to(dtype) for key, value in content["state_dict"].items()}
    content["state_dict"] = state
    loaded = load(saved(content, tmp_path / "codec.pth")).state_dict()
    for key, value in state.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.float()), key


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
        old, new = load(nano / f"{name}.pth").state_dict(), load(renamed).state_dict()
        assert all(torch.equal(old[key], new[key]) for key in old) and set(old) == set(new)
    old_codec, new_codec = load(nano / "codec.pth"), load(tmp_path / "codec.pth")
    codes = old_codec.encode(audio()).codes
    assert torch.equal(new_codec.encode(audio()).codes, codes)
    assert torch.equal(new_codec.decode_codes(codes), old_codec.decode_codes(codes))


def test_both_weight_norm_styles_for_one_weight_are_refused(
    nano: Path, tmp_path: Path
) -> None:
    content = content_of(nano, "codec")
    state = content["state_dict"]
    state["encoder.block.0.parametrizations.weight.original0"] = state[
        "encoder.block.0.weight_g"
    ]
    message = refusal(saved(content, tmp_path / "codec.pth"))
    assert "both weight-norm styles hold encoder.block.0.weight_g" in message


# Dimensions.

IMPOSSIBLE: list[object] = [
    0, -1, 1 << 21, 1 << 70, -(1 << 70), "8", True, False, 2.0, float("nan"), None, [], {},
    torch.tensor(3), torch.ones(3),
]  # fmt: skip


@pytest.mark.parametrize("value", IMPOSSIBLE, ids=lambda v: repr(v)[:24])
@pytest.mark.parametrize("key", ["n_heads", "n_layers", "embedding_dim", "vocab_size"])
def test_an_impossible_transformer_dimension_is_refused_by_name(
    nano: Path, tmp_path: Path, key: str, value: object
) -> None:
    path = with_kwargs(nano, "coarse", tmp_path / "coarse.pth", **{key: value})
    assert f"metadata.kwargs.{key}" in refusal(path)


@pytest.mark.parametrize("value", IMPOSSIBLE, ids=lambda v: repr(v)[:24])
@pytest.mark.parametrize("key", ["encoder_dim", "n_codebooks", "codebook_dim", "sample_rate"])
def test_an_impossible_codec_dimension_is_refused_by_name(
    nano: Path, tmp_path: Path, key: str, value: object
) -> None:
    path = with_kwargs(nano, "codec", tmp_path / "codec.pth", **{key: value})
    assert f"metadata.kwargs.{key}" in refusal(path)


@pytest.mark.parametrize(
    "value",
    [4, "4", [], [0], [-4], [4.0], [True], ["4"], [[4]], [2] * 65, {"a": 4}, None,
     torch.tensor([4])],
    ids=lambda v: repr(v)[:24],
)  # fmt: skip
@pytest.mark.parametrize("key", ["encoder_rates", "decoder_rates"])
def test_impossible_rates_are_refused_by_name(
    nano: Path, tmp_path: Path, key: str, value: object
) -> None:
    path = with_kwargs(nano, "codec", tmp_path / "codec.pth", **{key: value})
    assert f"metadata.kwargs.{key}" in refusal(path)


@pytest.mark.parametrize(
    "name, changed, words",
    [
        ("coarse", {"n_heads": 4}, "embedding_dim = 21 is not a multiple of n_heads = 4"),
        ("coarse", {"n_conditioning_codebooks": 2}, "leaves nothing to predict"),
        ("coarse", {"n_conditioning_codebooks": 9}, "leaves nothing to predict"),
        ("coarse", {"r_cond_dim": 16}, "r_cond_dim = 16"),
        ("coarse", {"cond_dim": 4}, "cond_dim = 4"),
        ("coarse", {"ctrl_dims": {"rms": 1}}, "ctrl_dims"),
        ("coarse", {"ctrl_dims": torch.ones(2)}, "ctrl_dims"),
        ("coarse", {"noise_mode": "random"}, "noise_mode = 'random'"),
        ("coarse", {"noise_mode": None}, "noise_mode = None"),
        ("coarse", {"noise_mode": torch.ones(2)}, "noise_mode"),
        ("codec", {"encoder_rates": [3], "decoder_rates": [3]}, "stride 3"),
        ("codec", {"encoder_rates": [8]}, "different products"),
        ("codec", {"decoder_rates": [2]}, "different products"),
        ("codec", {"decoder_dim": 11}, "cannot be halved"),
        ("codec", {"codebook_dim": [5, 5]}, "lists 2 widths for n_codebooks = 3"),
        ("codec", {"n_codebooks": 1 << 20}, "layers or codebooks, but the state_dict has"),
        ("coarse", {"n_layers": 1 << 20}, "layers or codebooks, but the state_dict has"),
        ("coarse", {"n_layers": 2}, "missing keys"),
        ("coarse", {"embedding_dim": 42}, "misshapen keys"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_dimensions_that_do_not_go_together_are_refused(
    nano: Path, tmp_path: Path, name: str, changed: dict[str, Any], words: str
) -> None:
    assert words in refusal(with_kwargs(nano, name, tmp_path / f"{name}.pth", **changed))


@pytest.mark.parametrize(
    "name, changed",
    [
        ("codec", {"encoder_rates": [2] * 40, "decoder_rates": [1 << 20, 1 << 20],
                   "decoder_dim": 1 << 20}),
        ("codec", {"encoder_dim": 1 << 20, "encoder_rates": [2] * 20,
                   "decoder_rates": [1 << 20], "decoder_dim": 1 << 20}),
        ("codec", {"codebook_size": 1 << 20, "codebook_dim": 1 << 20,
                   "encoder_dim": 1 << 20, "n_codebooks": 40}),
        ("coarse", {"embedding_dim": 1 << 20, "n_heads": 1 << 20, "vocab_size": 1 << 20,
                    "latent_dim": 1 << 20, "n_codebooks": 1 << 20}),
    ],
)  # fmt: skip
def test_dimensions_at_the_edge_of_the_allowed_neither_overflow_nor_fill_the_memory(
    nano: Path, tmp_path: Path, name: str, changed: dict[str, Any]
) -> None:
    refusal(with_kwargs(nano, name, tmp_path / f"{name}.pth", **changed))


def test_a_huge_value_does_not_flood_the_message(nano: Path, tmp_path: Path) -> None:
    path = with_kwargs(nano, "codec", tmp_path / "codec.pth", encoder_dim="x" * 1_000_000)
    assert "metadata.kwargs.encoder_dim" in refusal(path)


def test_keywords_the_published_constructor_drops_are_dropped(
    nano: Path, tmp_path: Path
) -> None:
    path = with_kwargs(nano, "coarse", tmp_path / "coarse.pth", whatever=[1], flash_attn=True)
    assert load(path).dims == load(nano / "coarse.pth").dims


def test_a_missing_keyword_means_the_published_default(nano: Path, tmp_path: Path) -> None:
    content = content_of(nano, "codec")
    del content["metadata"]["kwargs"]["sample_rate"]
    assert load(saved(content, tmp_path / "codec.pth")).dims.sample_rate == 44100


def test_codebooks_may_each_have_a_width_of_their_own(tmp_path: Path) -> None:
    kwargs = NANO["codec"] | {"codebook_dim": [5, 2, 7]}
    write_random_file(tmp_path / "codec.pth", kwargs, seed=0)
    codec = load(tmp_path / "codec.pth")
    assert codec.encode(audio()).latents.shape[1] == 5 + 2 + 7


# LoRA.


def lora_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return another LoRA for the coarse model of a folder."""
    draw = torch.Generator().manual_seed(77)
    return {
        key: torch.randn(value.shape, generator=draw)
        for key, value in content_of(folder, "coarse")["state_dict"].items()
        if ".lora_" in key
    }


def plain_coarse(nano: Path, path: Path) -> Path:
    content = content_of(nano, "coarse")
    content["state_dict"] = {
        key: value for key, value in content["state_dict"].items() if ".lora_" not in key
    }
    return saved(content, path)


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
    model = load_vampnet(read_checkpoint(checkpoint), lora=path)
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
    model = load_vampnet(read_checkpoint(nano / "coarse.pth"), lora=path)
    for stem, weight in expected_with(nano, overlay).items():
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
    message = refusal(path, lambda lora: load_vampnet(checkpoint, lora=lora))
    assert message.startswith(str(path)) and words in message


@pytest.mark.parametrize("content", [torch.zeros(2), [], None, {"state_dict": {}}, "lora"])
def test_a_lora_file_without_tensors_is_refused(tmp_path: Path, content: object) -> None:
    assert "not a LoRA file" in refusal(saved(content, tmp_path / "style.pth"), read_lora)


def test_a_checkpoint_without_lora_keys_loads(nano: Path, tmp_path: Path) -> None:
    path = plain_coarse(nano, tmp_path / "coarse.pth")
    model = load(path)
    assert not any(".lora_" in name for name, _ in model.named_parameters())


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


# Sets.


@pytest.mark.parametrize(
    "present",
    [("codec",), ("coarse",), ("c2f",), ("codec", "coarse"), ("codec", "c2f"),
     ("coarse", "c2f"), ("codec", "coarse", "c2f")],
)  # fmt: skip
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
        ("coarse", {"latent_dim": 4}, "latent_dim 4 against codebook_dim [5, 5]"),
        ("c2f", {"n_codebooks": 4}, "4 codebooks against 3"),
        ("codec", {"codebook_dim": [5, 6, 5]}, "latent_dim 5 against codebook_dim [5, 6]"),
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


# Damage.


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_never_raise_anything_but_a_refusal(
    nano: Path, tmp_path: Path, seed: int
) -> None:
    """Structure and pickle are hit as well as weights; a flipped weight may load."""
    original = (nano / "coarse.pth").read_bytes()
    start = original.find(b"data.pkl")
    draw = random.Random(seed)
    path = tmp_path / "coarse.pth"
    refused = 0
    for round_number in range(40):
        data = bytearray(original)
        # Every second round hits the pickle, which is a small part of the file.
        low, high = (start, start + 4000) if round_number % 2 else (0, len(data))
        for _ in range(draw.choice((1, 1, 2, 8))):
            data[draw.randrange(low, high)] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            load(path)
        except InputError as error:
            refused += 1
            assert len(str(error)) < LONGEST_MESSAGE
    assert refused > 10


@pytest.mark.parametrize("seed", range(2))
def test_pickles_of_nonsense_structure_never_raise_anything_but_a_refusal(
    nano: Path, tmp_path: Path, seed: int
) -> None:
    draw = random.Random(seed)
    values: list[Any] = [None, 0, -1, "x", [], {}, torch.zeros(0), torch.zeros(2, 2),
                         torch.zeros((), dtype=torch.int8), float("inf"), (1,), b"x"]  # fmt: skip
    for name in ("codec", "coarse"):
        for _ in range(25):
            content = content_of(nano, name)
            target = draw.choice([content, content["metadata"], content["metadata"]["kwargs"],
                                  content["state_dict"]])  # fmt: skip
            target[draw.choice([*list(target)[:40], "new", 3])] = draw.choice(values)
            path = saved(content, tmp_path / f"{name}.pth")
            try:
                load(path)
            except InputError as error:
                assert len(str(error)) < LONGEST_MESSAGE


def test_a_label_of_any_kind_never_breaks_reading(nano: Path, tmp_path: Path) -> None:
    content = content_of(nano, "codec")
    content["metadata"]["random_weights"] = torch.ones(3)
    assert read_checkpoint(saved(content, tmp_path / "codec.pth")).source.label == "random"


# Random sets.


@pytest.mark.parametrize("size", sorted(sizes()))
def test_every_known_size_has_kwargs_that_fit_each_other(size: str, tmp_path: Path) -> None:
    from models.checkpoint import _check_fit, _check_pair
    from models.dims import CodecDims, VampNetDims

    kwargs = sizes()[size]
    codec = CodecDims.from_kwargs(kwargs["codec"], size)
    coarse, c2f = (VampNetDims.from_kwargs(kwargs[name], size) for name in ("coarse", "c2f"))
    _check_fit("coarse", coarse, codec, tmp_path)
    _check_fit("c2f", c2f, codec, tmp_path)
    _check_pair(coarse, c2f, tmp_path)
    assert c2f.n_codebooks == codec.n_codebooks


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_random_set(tmp_path / folder, like="tiny", seed=seed)
    for name in ("codec.pth", "coarse.pth", "c2f.pth"):
        a, b, c = ((tmp_path / folder / name).read_bytes() for folder in "abc")
        assert a == b != c


def test_a_random_set_is_labelled_and_says_how_it_was_made(tmp_path: Path) -> None:
    write_random_set(tmp_path, like="tiny", seed=3)
    metadata = content_of(tmp_path, "c2f")["metadata"]
    assert metadata["random_weights"] is True and metadata["seed"] == 3
    assert metadata["kwargs"] == sizes()["tiny"]["c2f"]
    assert open_models(tmp_path).random_weights


@pytest.mark.parametrize("seed", [0, (1 << 63) - 1, 1 << 80])
def test_seeds_of_any_size_are_taken(tmp_path: Path, seed: int) -> None:
    files = write_random_set(tmp_path / "set", like="tiny", seed=seed)
    assert all(path.is_file() for path in files)


def test_a_random_set_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "coarse.pth").write_bytes(b"mine")
    message = refusal(tmp_path, lambda folder: write_random_set(folder, like="tiny", seed=0))
    assert "exists already" in message
    assert (tmp_path / "coarse.pth").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["coarse.pth"]


def test_an_unknown_size_names_the_known_ones(tmp_path: Path) -> None:
    message = refusal(tmp_path, lambda f: write_random_set(f, like="huge", seed=0))
    assert "tiny" in message and "released" in message


@pytest.mark.parametrize("name", ["codec", "coarse", "c2f"])
def test_random_weights_keep_activations_in_a_sane_range(nano: Path, name: str) -> None:
    models = open_models(nano)
    assert models.codec is not None
    if name == "codec":
        encoded = models.codec.encode(audio())
        output = models.codec.decode_codes(encoded.codes)
        assert len(np.unique(encoded.codes)) > 5
    else:
        count = models.transformers[name].dims.n_codebooks
        codes = torch.randint(12, (2, count, 9), generator=torch.Generator().manual_seed(0))
        output = models.transformers[name].forward_codes(codes, models.codec.quantizer)
    assert torch.isfinite(output).all() and output.std() > 0.01


def test_the_golden_checkpoints_say_they_are_whatever_they_are(golden_a: Any) -> None:
    """Parameters recorded beside the arrays are those the loader reads."""
    recorded = json.loads((golden_a.folder / "reference.json").read_text("utf-8"))
    assert recorded and golden_a.models.codec.dims.hop_length > 0
