"""A folder of checkpoints: which networks it holds, whether they fit, and opening them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there
from vampnet_onnx.configs.manifest import SourceRecord
from vampnet_onnx.configs.names import CODEC, TRANSFORMERS
from vampnet_onnx.models.networks.dims import CodecDims, VampNetDims
from vampnet_onnx.models.networks.lac import LAC
from vampnet_onnx.models.networks.layers import merge_lora
from vampnet_onnx.models.networks.vampnet import VampNet

from .checkpoint import (
    Checkpoint,
    content_of,
    load_codec,
    load_vampnet,
    lora_rank,
    lora_shapes,
    read_checkpoint,
    read_lora,
)
from .unpickle import listed


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
    sources: tuple[SourceRecord, ...] = ()

    @property
    def random_weights(self) -> bool:
        """Whether any file is labelled as random."""
        return any(source.label == "random" for source in self.sources)


class Checkpoints:
    """A folder of checkpoints, opened once a run: every file hashed once.

    Attributes:
        folder: holds ``codec.pth``, ``coarse.pth``, ``c2f.pth`` or some of them.
        lora: LoRA overlay by transformer.
        present: which of codec, coarse and c2f the folder holds, in this order.

    Raises:
        InputError: nothing to read, or the files do not fit each other.
    """

    def __init__(self, folder: Path, lora: Mapping[str, Path] = {}) -> None:
        self.folder = folder
        self.lora = dict(lora)
        self.present = check_set(folder)
        self._sources: dict[Path, SourceRecord] = {}
        self._held: tuple[tuple[str, ...], bool, ModelSet] | None = None
        self._codec: LAC | None = None

    def models_for(self, transformers: Sequence[str], *, merged: bool = False) -> ModelSet:
        """Return the codec and the transformers asked for, those that are there.

        The codec is kept.  Transformers are kept until others are asked for: two of released
        size do not fit side by side, so whoever asks for others lets go of these before.

        Args:
            transformers: names.
            merged: form every effective weight of theirs once, instead of at every forward.

        Raises:
            InputError: a file is not fit for use.
        """
        names = tuple(name for name in self.present if name in transformers)
        if self._held is not None and self._held[:2] == (names, merged):
            return self._held[2]
        self._held = None  # given back before the next ones are opened
        if self._codec is None and CODEC in self.present:
            self._codec = load_codec(self._read(CODEC))
        opened, paths = {}, [self._path(CODEC)] if self._codec is not None else []
        for name in names:
            opened[name] = load_vampnet(self._read(name), lora=self.lora.get(name))
            if merged:
                merge_lora(opened[name])
            paths += [self._path(name), *filter(None, [self.lora.get(name)])]
        sources = tuple(self.source(path) for path in paths)
        models = ModelSet(self.folder, self._codec, opened, sources)
        self._held = names, merged, models
        return models

    def source(self, path: Path) -> SourceRecord:
        """Return name, digest and size of a file, hashed when first asked for."""
        if path not in self._sources:
            self._sources[path] = SourceRecord.of(path)
        return self._sources[path]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pth"

    def _read(self, name: str) -> Checkpoint:
        checkpoint = read_checkpoint(self._path(name))
        self._sources[self._path(name)] = checkpoint.source
        return checkpoint


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
    kwargs = {name: content_of(folder / f"{name}.pth")[1]["kwargs"] for name in present}
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
    lora: Mapping[str, Path] = {},
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
    opened = Checkpoints(folder, lora)
    unused = sorted(set(lora) - set(only) | set(lora) - set(opened.present))
    if unused:
        raise InputError(
            f"{folder}: a LoRA file was given for {listed(unused)}, which is not there"
        )
    return opened.models_for(only)


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


def _lora_shapes_of(path: Path, overlay: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return what a LoRA file of an overlay's rank holds for a transformer."""
    dims = VampNetDims.from_kwargs(content_of(path)[1]["kwargs"], str(path))
    if dims.n_layers > len(overlay):  # not worth building
        return {}
    return lora_shapes(lambda: VampNet(dims, rank=lora_rank(overlay)))


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
