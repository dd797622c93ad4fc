"""Strict reading of checkpoints in the published format.

A checkpoint is ``torch.save({"state_dict": ..., "metadata": {"kwargs": {...}}})``.  The
published packages load it with ``strict=False`` and let missing and unexpected keys pass in
silence; here every key is consumed and every parameter set, or loading fails and names them.
Files are untrusted: they are opened with ``weights_only=True`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, sha256
from vampnet_onnx.models.networks.dims import CodecDims, VampNetDims
from vampnet_onnx.models.networks.lac import LAC
from vampnet_onnx.models.networks.vampnet import VampNet

from .unpickle import clean_state, listed, unpickle

CODEC = "codec"
TRANSFORMERS = ("coarse", "c2f")
RANDOM_LABEL = "random_weights"

_LORA_SUFFIXES = (".lora_A", ".lora_B")

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class SourceFile:
    """A file that weights came from.

    Attributes:
        name: file name without its folder.
        sha256: hex digest of its bytes.
        size: bytes.
        label: what its metadata says of the weights, ``random`` for random ones; else empty.
    """

    name: str
    sha256: str
    size: int
    label: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """One opened checkpoint file.

    Attributes:
        path: where it was read.
        state: tensors by published name, weight-norm keys in the old style.
        kwargs: the published constructor's keywords.
        source: digest and size of the file.
    """

    path: Path
    state: dict[str, Tensor]
    kwargs: dict[str, Any]
    source: SourceFile


@dataclass(frozen=True)
class ModelSet:
    """The networks of one folder of checkpoints, any subset of codec, coarse and c2f.

    Attributes:
        folder: where they were read.
        codec: the codec, if ``codec.pth`` is there.
        transformers: ``coarse`` and ``c2f``, those that are there.
        sources: the files, in a fixed order.
    """

    folder: Path
    codec: LAC | None
    transformers: dict[str, VampNet] = field(default_factory=dict)
    sources: tuple[SourceFile, ...] = ()

    @property
    def random_weights(self) -> bool:
        """Whether any file is labelled as random."""
        return any(source.label == "random" for source in self.sources)


def read_checkpoint(path: Path) -> Checkpoint:
    """Open one checkpoint file.

    Raises:
        InputError: the file is missing, truncated, no checkpoint, wants to run code, has no
            ``metadata.kwargs``, or holds non-finite or non-float weights.
    """
    state, metadata = _content(path)
    labelled = metadata.get(RANDOM_LABEL)
    label = "" if labelled is None or labelled is False else "random"
    clean = clean_state(state, path)
    return Checkpoint(path, clean, dict(metadata["kwargs"]), source_file(path, label=label))


def read_lora(path: Path) -> dict[str, Tensor]:
    """Open a LoRA overlay: a file with ``*.lora_A`` and ``*.lora_B`` keys only.

    Both a bare mapping of tensors and one under ``state_dict`` are accepted.

    Raises:
        InputError: as `read_checkpoint`, or other keys are present.
    """
    content = unpickle(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: not a LoRA file: no tensors inside")
    state = clean_state(content, path)
    others = [key for key in state if not key.endswith(_LORA_SUFFIXES)]
    if others:
        raise InputError(
            f"{path}: a LoRA file holds only *.lora_A and *.lora_B keys, but this one has"
            f" {listed(others)}"
        )
    return state


def load_codec(checkpoint: Checkpoint) -> LAC:
    """Build the codec of a checkpoint and set every parameter of it.

    Raises:
        InputError: keywords or keys do not fit.
    """
    dims = CodecDims.from_kwargs(checkpoint.kwargs, str(checkpoint.path))
    _refuse_more_parts_than_keys(checkpoint, max(dims.n_codebooks, len(dims.encoder_rates)))
    return _strict_load(lambda: LAC(dims), checkpoint.state, checkpoint.path)


def load_vampnet(checkpoint: Checkpoint, *, lora: Path | None = None) -> VampNet:
    """Build the transformer of a checkpoint and set every parameter of it.

    Args:
        checkpoint: an opened coarse or c2f file.
        lora: a LoRA file to lay over the checkpoint's own LoRA tensors.

    Raises:
        InputError: keywords, keys or the overlay do not fit.
    """
    dims = VampNetDims.from_kwargs(checkpoint.kwargs, str(checkpoint.path))
    _refuse_more_parts_than_keys(checkpoint, max(dims.n_layers, 1))
    state = dict(checkpoint.state)
    overlay = read_lora(lora) if lora else {}
    rank = _lora_rank({**state, **overlay})
    build = lambda: VampNet(dims, rank=rank)  # noqa: E731
    if overlay:
        _require_keys(_lora_shapes(build), overlay, lora or checkpoint.path)
        state.update(overlay)
    return _strict_load(build, state, checkpoint.path)


def check_set(folder: Path) -> list[str]:
    """Return which of codec, coarse and c2f a folder holds, after checking that they fit.

    Only the metadata is read.

    Raises:
        InputError: nothing to read, or the files do not fit each other.
    """
    if not is_there(folder) or not folder.is_dir():
        raise InputError(f"{folder}: no such folder of checkpoints")
    present = [name for name in (CODEC, *TRANSFORMERS) if (folder / f"{name}.pth").exists()]
    if not present:
        raise InputError(
            f"{folder}: holds none of codec.pth, coarse.pth, c2f.pth; fetch the published set"
            " with 'vampnet-onnx fetch' or make one with 'vampnet-onnx make-checkpoint'"
        )
    kwargs = {name: _content(folder / f"{name}.pth")[1]["kwargs"] for name in present}
    dims = {
        name: VampNetDims.from_kwargs(kwargs[name], str(folder / f"{name}.pth"))
        for name in present
        if name != CODEC
    }
    if CODEC in present:
        codec = CodecDims.from_kwargs(kwargs[CODEC], str(folder / f"{CODEC}.pth"))
        for name, own in dims.items():
            _check_fit(name, own, codec, folder)
    if len(dims) == len(TRANSFORMERS):
        _check_pair(dims["coarse"], dims["c2f"], folder)
    return present


def open_models(
    folder: Path,
    *,
    lora: Mapping[str, Path] | None = None,
    only: tuple[str, ...] = TRANSFORMERS,
) -> ModelSet:
    """Load the codec of a folder, if it holds one, and transformers.

    Args:
        folder: holds ``codec.pth``, ``coarse.pth``, ``c2f.pth`` or some of them.
        lora: LoRA overlay by transformer name.
        only: transformers to read; others are left alone.

    Raises:
        InputError: nothing to read, or the files do not fit each other.
    """
    present = check_set(folder)
    codec, transformers, sources = None, {}, []
    if CODEC in present:
        opened = read_checkpoint(folder / f"{CODEC}.pth")
        codec = load_codec(opened)
        sources.append(opened.source)
    for name in present:
        if name not in only or name == CODEC:
            continue
        opened = read_checkpoint(folder / f"{name}.pth")
        overlay = (lora or {}).get(name)
        transformers[name] = load_vampnet(opened, lora=overlay)
        sources.append(opened.source)
        if overlay:
            sources.append(source_file(overlay))
    unused = sorted(set(lora or {}) - set(transformers))
    if unused:
        raise InputError(
            f"{folder}: a LoRA file was given for {listed(unused)}, which is not there"
        )
    return ModelSet(folder, codec, transformers, tuple(sources))


def lora_owner(folder: Path, lora: Path) -> str:
    """Return which transformer of a folder a LoRA file belongs to, by its keys and shapes.

    Raises:
        InputError: the file fits none of them or both, or something cannot be read.
    """
    overlay = read_lora(lora)
    shapes = {key: tuple(value.shape) for key, value in overlay.items()}
    present = [name for name in check_set(folder) if name != CODEC]
    fitting = [
        name for name in present if shapes == _lora_shapes_of(folder / f"{name}.pth", overlay)
    ]
    if len(fitting) == 1:
        return fitting[0]
    said = "both" if fitting else "none"
    raise InputError(
        f"{lora}: by its keys and shapes it fits {said} of the transformers of {folder}"
        f" ({listed(present) or 'which holds no transformer'}); say which one it is for, as"
        " coarse=FILE or c2f=FILE"
    )


def source_file(path: Path, *, label: str = "") -> SourceFile:
    """Return name, digest and size of a file."""
    return SourceFile(path.name, sha256(path), path.stat().st_size, label)


def _content(path: Path) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return state dict and metadata of a file, the latter with its kwargs."""
    content = unpickle(path)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise InputError(
            f"{path}: not a checkpoint in the published format: no 'state_dict' inside"
        )
    metadata = content.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("kwargs"), dict):
        raise InputError(
            f"{path}: the checkpoint has no metadata.kwargs, so its dimensions are unknown;"
            " save it with the published package's BaseModel.save"
        )
    return content["state_dict"], metadata


def _strict_load(build: Callable[[], M], state: dict[str, Tensor], path: Path) -> M:
    """Build a module without memory of its own and give it the checkpoint's tensors."""
    with torch.device("meta"):
        module = build()
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    _require_keys(expected, state, path)
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _require_keys(
    expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Tensor], path: Path
) -> None:
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    misshapen = [
        f"{name} is {tuple(state[name].shape)}, should be {shape}"
        for name, shape in expected.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    problems = [
        f"{what} {len(keys)} ({listed(keys)})"
        for what, keys in (
            ("missing keys:", missing),
            ("unexpected keys:", unexpected),
            ("misshapen keys:", misshapen),
        )
        if keys
    ]
    if problems:
        raise InputError(
            f"{path}: state_dict does not fit the dimensions in its metadata.kwargs; "
            + "; ".join(problems)
        )


def _lora_rank(state: Mapping[str, Tensor]) -> int:
    ranks = [
        value.shape[0]
        for key, value in state.items()
        if key.endswith(".lora_A") and value.ndim
    ]
    return ranks[0] if ranks else int(any(k.endswith(_LORA_SUFFIXES) for k in state))


def _lora_shapes(build: Callable[[], VampNet]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = build().state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if k.endswith(_LORA_SUFFIXES)}


def _lora_shapes_of(path: Path, overlay: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return what a LoRA file of an overlay's rank holds for a transformer."""
    dims = VampNetDims.from_kwargs(_content(path)[1]["kwargs"], str(path))
    if dims.n_layers > len(overlay):  # not worth building
        return {}
    return _lora_shapes(lambda: VampNet(dims, rank=_lora_rank(overlay)))


def _refuse_more_parts_than_keys(checkpoint: Checkpoint, parts: int) -> None:
    if parts > len(checkpoint.state):
        raise InputError(
            f"{checkpoint.path}: metadata.kwargs asks for {parts} layers or codebooks, but"
            f" the state_dict has only {len(checkpoint.state)} keys"
        )


def _check_fit(name: str, dims: VampNetDims, codec: CodecDims, folder: Path) -> None:
    used = codec.codebook_dims[: dims.n_codebooks]
    problems = []
    if dims.vocab_size != codec.codebook_size:
        problems.append(
            f"vocab_size {dims.vocab_size} against codebook_size {codec.codebook_size}"
        )
    if dims.n_codebooks > codec.n_codebooks:
        problems.append(f"{dims.n_codebooks} codebooks against {codec.n_codebooks}")
    if any(width != dims.latent_dim for width in used):
        widths = ", ".join(str(width) for width in sorted(set(used)))
        problems.append(f"latent_dim {dims.latent_dim} against codebook_dim {widths}")
    if problems:
        raise InputError(
            f"{folder}: {name}.pth and codec.pth do not fit each other: {'; '.join(problems)}."
            " Use the codec the transformer was trained on"
        )


def _check_pair(coarse: VampNetDims, c2f: VampNetDims, folder: Path) -> None:
    if coarse.n_codebooks != c2f.n_conditioning_codebooks:
        raise InputError(
            f"{folder}: coarse.pth has {coarse.n_codebooks} codebooks, but c2f.pth is"
            f" conditioned on {c2f.n_conditioning_codebooks}; they are not a pair"
        )
