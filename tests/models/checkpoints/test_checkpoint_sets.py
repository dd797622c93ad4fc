"""LoRA files, folders of checkpoints, and random sets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.checkpoint_files import audio, content_of, copy_of, load, refusal, saved
from tests.support.sets import NANO
from vampnet_onnx.models import (
    check_set,
    load_vampnet,
    lora_owner,
    open_models,
    read_checkpoint,
    read_lora,
)
from vampnet_onnx.models.checkpoints.random_checkpoint import (
    sizes,
    write_random_file,
    write_random_set,
)
from vampnet_onnx.models.networks.layers import LoRALinear


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


def test_a_merged_layer_computes_the_same_bits_without_an_update(
    nano: Path, tmp_path: Path
) -> None:
    path = saved(lora_of(nano), tmp_path / "style.pth")
    model = load_vampnet(read_checkpoint(nano / "coarse.pth"), lora=path)
    latents = torch.randn(1, 10, 7, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model(latents)
    layers = [layer for layer in model.modules() if isinstance(layer, LoRALinear)]
    assert any(layer.rank for layer in layers)
    for layer in layers:
        layer.merge()
    assert not any("lora" in name for name, _ in model.named_parameters())
    with torch.inference_mode():
        torch.testing.assert_close(model(latents), before, rtol=0, atol=0)


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
    _drop_one(overlay)
    said = refusal(saved(overlay, path), lambda lora: lora_owner(nano, lora))
    assert "none" in said and "coarse=FILE" in said


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


@pytest.mark.parametrize("size", sorted(sizes()))
def test_every_known_size_has_kwargs_that_fit_each_other(size: str, tmp_path: Path) -> None:
    from vampnet_onnx.models.checkpoints.folder import _check_fit, _check_pair
    from vampnet_onnx.models.networks.dims import CodecDims, VampNetDims

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


def test_a_random_set_that_is_stopped_half_way_leaves_no_files(tmp_path: Path) -> None:
    def stop_at_the_last(name: str) -> None:
        if name == "c2f.pth":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_random_set(tmp_path, like="tiny", seed=0, progress=stop_at_the_last)
    assert list(tmp_path.iterdir()) == []


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
