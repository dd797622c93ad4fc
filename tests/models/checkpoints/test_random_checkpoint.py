"""Random sets: the same for a seed, labelled, and of sane numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.checkpoint_files import audio, content_of, refusal
from tests.support.upstream_packages import STUB
from vampnet_onnx.configs.packaged import packaged_set
from vampnet_onnx.models import open_models
from vampnet_onnx.models.checkpoints.folder import require_fit
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes, write_random_set
from vampnet_onnx.models.networks.dims import CodecDims, VampNetDims


@pytest.mark.parametrize("size", sorted(sizes()))
def test_every_known_size_has_kwargs_that_fit_each_other(size: str, tmp_path: Path) -> None:
    kwargs = sizes()[size]
    codec = CodecDims.from_kwargs(kwargs["codec"], size)
    coarse, c2f = (VampNetDims.from_kwargs(kwargs[name], size) for name in ("coarse", "c2f"))
    require_fit(codec, {"coarse": coarse, "c2f": c2f}, {})
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
    assert sizes()["tiny"]["c2f"].items() <= metadata["kwargs"].items()
    assert {source.label for source in open_models(tmp_path).sources} == {"random"}


@pytest.mark.parametrize("seed", [0, (1 << 63) - 1, 1 << 80])
def test_seeds_of_any_size_are_taken(tmp_path: Path, seed: int) -> None:
    files = write_random_set(tmp_path / "set", like="tiny", seed=seed)
    assert [path.name for path in files if path.is_file()] == [
        "codec.pth",
        "coarse.pth",
        "c2f.pth",
    ]


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


def published_keywords(module: str, owner: str) -> set[str]:
    """Return the keywords of a published constructor, as the stand-ins have them."""
    tree = ast.parse((STUB / module).read_text())
    found = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == owner)
    init = next(n for n in found.body if getattr(n, "name", "") == "__init__")
    assert isinstance(init, ast.FunctionDef)
    return {argument.arg for argument in init.args.args} - {"self"}


@pytest.mark.parametrize("source", ["random", "demo"])
def test_files_of_ours_leave_nothing_to_the_published_defaults(
    tmp_path: Path, source: str
) -> None:
    folder = packaged_set("demo", "test") if source == "demo" else tmp_path
    if source == "random":
        write_random_set(tmp_path, like="tiny", seed=0)
    codec = content_of(folder, "codec")["metadata"]["kwargs"]
    assert codec.keys() == published_keywords("lac/model/lac.py", "LAC")
    for name in ("coarse", "c2f"):
        kwargs = content_of(folder, name)["metadata"]["kwargs"]
        expected = published_keywords("vampnet/modules/transformer.py", "VampNet")
        assert kwargs.keys() == expected and kwargs["flash_attn"] is False
