"""Dimensions that cannot be are refused by name, before any memory is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.checkpoint_files import audio, content_of, load, refusal, saved, with_kwargs
from tests.support.sets import NANO
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file

IMPOSSIBLE: list[object] = [
    0,
    -1,
    1 << 21,
    1 << 70,
    -(1 << 70),
    "8",
    True,
    False,
    2.0,
    float("nan"),
    None,
    [],
    {},
    torch.tensor(3),
    torch.ones(3),
]


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
    [
        4,
        "4",
        [],
        [0],
        [-4],
        [4.0],
        [True],
        ["4"],
        [[4]],
        [2] * 65,
        {"a": 4},
        None,
        torch.tensor([4]),
    ],
    ids=lambda v: repr(v)[:24],
)
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
        (
            "codec",
            {
                "encoder_rates": [2] * 40,
                "decoder_rates": [1 << 20, 1 << 20],
                "decoder_dim": 1 << 20,
            },
        ),
        (
            "codec",
            {
                "encoder_dim": 1 << 20,
                "encoder_rates": [2] * 20,
                "decoder_rates": [1 << 20],
                "decoder_dim": 1 << 20,
            },
        ),
        (
            "codec",
            {
                "codebook_size": 1 << 20,
                "codebook_dim": 1 << 20,
                "encoder_dim": 1 << 20,
                "n_codebooks": 40,
            },
        ),
        (
            "coarse",
            {
                "embedding_dim": 1 << 20,
                "n_heads": 1 << 20,
                "vocab_size": 1 << 20,
                "latent_dim": 1 << 20,
                "n_codebooks": 1 << 20,
            },
        ),
    ],
)
def test_dimensions_at_the_edge_of_the_allowed_neither_overflow_nor_fill_the_memory(
    nano: Path, tmp_path: Path, name: str, changed: dict[str, Any]
) -> None:
    refusal(with_kwargs(nano, name, tmp_path / f"{name}.pth", **changed))


def test_a_huge_value_does_not_flood_the_message(nano: Path, tmp_path: Path) -> None:
    for value in ("x" * 1_000_000, [1] * 100_000, 1 << 1500, torch.ones(99, 99)):
        path = with_kwargs(nano, "codec", tmp_path / "codec.pth", encoder_dim=value)
        message = refusal(path)
        assert "metadata.kwargs.encoder_dim" in message and len(message) < 400


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


@pytest.mark.parametrize("value", [1, 64, None])
def test_a_cond_dim_adds_no_weights_and_changes_nothing(
    nano: Path, tmp_path: Path, value: object
) -> None:
    path = with_kwargs(nano, "coarse", tmp_path / "coarse.pth", cond_dim=value)
    assert load(path).dims == load(nano / "coarse.pth").dims  # type: ignore[attr-defined]
