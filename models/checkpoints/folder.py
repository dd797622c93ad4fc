"""A folder of checkpoints: which networks it holds, whether they fit, and opening them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import LORA_ROLE, SourceRecord
from vampnet_onnx.configs.names import CODEC, TRACKER, TRANSFORMERS
from vampnet_onnx.configs.text import as_text
from vampnet_onnx.models.networks.dims import CodecDims, TrackerDims, VampNetDims
from vampnet_onnx.models.networks.lac import LAC
from vampnet_onnx.models.networks.layers import merge_lora
from vampnet_onnx.models.networks.vampnet import VampNet
from vampnet_onnx.models.networks.wavebeat import WaveBeat

from .checkpoint import (
    Checkpoint,
    load_codec,
    load_vampnet,
    lora_rank,
    lora_shapes,
    read_checkpoint,
    read_lora,
)
from .content import Content, read_content
from .found import find_files
from .tracker import load_tracker, read_tracker, tracker_dims
from .unpickle import clean_state, listed


@dataclass(frozen=True)
class ModelSet:
    """The networks of one folder of checkpoints, any subset of them.

    Attributes:
        sources: the files that were read, in a fixed order.
        paths: of the sources.
    """

    folder: Path
    codec: LAC | None
    transformers: dict[str, VampNet] = field(default_factory=dict)
    sources: tuple[SourceRecord, ...] = ()
    paths: tuple[Path, ...] = ()
    tracker: WaveBeat | None = None

    @property
    def networks(self) -> list[nn.Module]:
        """Those that are there."""
        found = (self.codec, *self.transformers.values(), self.tracker)
        return [network for network in found if network is not None]


class Checkpoints:
    """A folder of checkpoints, opened once a run.

    Every file is hashed once and each of its weights is looked at once, however often it is
    opened.  One that changes meanwhile is refused, so that what is recorded of a file is true
    of all that was made from it.  A copy in another process knows what this one knew.

    Args:
        folder: holds ``codec.pth``, ``coarse.pth``, ``c2f.pth`` or some of them, or is that of
            a training run (`found.find_files`).
        lora: LoRA files to lay over transformers.  One that a training run left beside the
            weights is laid over them where none is given and its tensors are others than
            those in the weights.
        codec: file of the codec, in place of the folder's own.

    Attributes:
        files: by network, in the order codec, coarse, c2f, wavebeat.
        present: their names.
        lora: LoRA files that are laid over transformers.
        given: transformers whose LoRA file was given, not found.
        codec_dims: dimensions of the codec, if there is one.
        dims: dimensions of the transformers that are there.
        tracker_dims: dimensions of the beat tracker, if there is one.

    Raises:
        InputError: nothing to read, or the files do not fit each other.
    """

    def __init__(
        self, folder: Path, lora: Mapping[str, Path] = {}, *, codec: Path | None = None
    ) -> None:
        found = find_files(folder, codec)
        self.folder, self.files = folder, found.files
        self.given, self.lora = tuple(lora), dict(lora)
        self.present = list(found.files)
        self._found = {*found.files.values(), *found.lora.values()} - {*lora.values(), codec}
        self.codec_dims: CodecDims | None = None
        self.dims: dict[str, VampNetDims] = {}
        self.tracker_dims: TrackerDims | None = None
        self._files: dict[Path, _File] = {}
        self._networks: dict[str, LAC | VampNet | WaveBeat] = {}
        self._versions: dict[str, list[int]] = {}
        self._merged = False
        for name, path in self.files.items():
            if name == TRACKER:
                opened = self._file(path).read(read_tracker)
                self.tracker_dims = tracker_dims(opened)
                continue
            kwargs = self._file(path).content.kwargs
            if name == CODEC:
                self.codec_dims = CodecDims.from_kwargs(kwargs, str(path))
            else:
                self.dims[name] = VampNetDims.from_kwargs(kwargs, str(path))
        require_fit(self.codec_dims, self.dims, self.files)
        for name, path in found.lora.items():
            if name not in self.lora and not self._holds(self.files[name], path):
                self.lora[name] = path

    def models_for(self, transformers: Sequence[str], *, merged: bool = False) -> ModelSet:
        """Return the codec and what is asked for beside it, of what is there.

        The codec is kept.  Transformers are kept until others are asked for: two of released
        size do not fit side by side, so whoever asks for others lets go of these before.

        Args:
            transformers: and the beat tracker, by their names.
            merged: form every effective weight of theirs once, instead of at every forward.

        Raises:
            InputError: a file is not fit for use, or has changed since it was first seen.
        """
        lost = [n for n in transformers if n in self.lora and n not in self.present]
        if lost:
            raise InputError(
                f"{self.folder}: a LoRA file was given for {listed(lost)}, which is not there"
            )
        self._require_untouched()
        wanted = [name for name in self.present if name == CODEC or name in transformers]
        kept = wanted if merged == self._merged else [CODEC]
        for name in self._networks.keys() - set(kept):
            del self._networks[name]  # given back before the next one is opened
        self._merged = merged
        files = []
        for name in wanted:
            if name not in self._networks:
                self._networks[name] = self._opened(name)
                self._versions[name] = _versions(self._networks[name])
            files += [self.files[name], *filter(None, [self.lora.get(name)])]
        codec, tracker = self._networks.get(CODEC), self._networks.get(TRACKER)
        return ModelSet(
            self.folder,
            codec if isinstance(codec, LAC) else None,
            {n: m for n in wanted if isinstance(m := self._networks[n], VampNet)},
            tuple(self.source(path) for path in files),
            tuple(files),
            tracker if TRACKER in wanted and isinstance(tracker, WaveBeat) else None,
        )

    def let_go(self) -> None:
        """Give the memory of all networks back; who asks for one again opens it again."""
        self._require_untouched()
        self._networks.clear()

    def read_lora(self, path: Path) -> Checkpoint:
        """Open a LoRA file, an overlay of these or any other.

        Raises:
            InputError: it cannot be used, or has changed since it was first seen.
        """
        return self._file(path).read(read_lora)

    def source(self, path: Path) -> SourceRecord:
        """Return what to record of a file: its digest and size.

        Raises:
            InputError: the file has changed since it was first seen.
        """
        file = self._file(path)
        file.require_same()
        return file.source

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the networks: another process opens its own."""
        return self.__dict__ | {"_networks": {}}

    def _file(self, path: Path) -> _File:
        if path not in self._files:
            role = next((n for n, own in self.files.items() if own == path), LORA_ROLE)
            found = path in self._found  # by us: else its own name says what it is
            name = path.relative_to(self.folder).as_posix() if found else path.name
            self._files[path] = _File(path, name, role)
        return self._files[path]

    def _holds(self, weights: Path, lora: Path) -> bool:
        """Whether the tensors of a LoRA file are in a file of weights already."""
        state = clean_state(self._file(weights).content.state, weights)
        overlay = clean_state(self._file(lora).content.state, lora)
        return all(
            name in state and torch.equal(state[name], value)
            for name, value in overlay.items()
        )

    def _opened(self, name: str) -> LAC | VampNet | WaveBeat:
        if name == TRACKER:
            return load_tracker(self._file(self.files[name]).read(read_tracker))
        checkpoint = self._file(self.files[name]).read(read_checkpoint)
        if name == CODEC:
            return load_codec(checkpoint)
        overlay = self.read_lora(self.lora[name]) if name in self.lora else None
        model = load_vampnet(checkpoint, lora=overlay)
        if self._merged:
            merge_lora(model)
        return model

    def _require_untouched(self) -> None:
        """Refuse to hand out networks that somebody has changed since.

        An export that changed the weights it was made from would change the oracle, too, and
        be found equal.
        """
        for name, model in self._networks.items():
            if _versions(model) != self._versions[name]:
                raise RuntimeError(f"{self.files[name]}: its weights were changed in place")


class _File:
    """A file that is hashed once, and whose weights are looked at once."""

    def __init__(self, path: Path, name: str, role: str) -> None:
        self._path, self._name, self._role = path, name, role
        self._stamp = _stamp(path)
        self._checked = False

    @property
    def content(self) -> Content:
        """What is in the file; its tensors are mapped, not read."""
        role = self._role
        found = read_content(self._path, bare=role == LORA_ROLE, lightning=role == TRACKER)
        self._said = found.label, found.prefix
        return found

    def read(self, read: Callable[..., Checkpoint]) -> Checkpoint:
        """Open the file."""
        opened = read(self._path, weights_checked=self._checked)
        self._said = opened.label, opened.prefix  # the file need not be opened again to say so
        self.require_same()
        self._checked = True
        return opened

    @cached_property
    def source(self) -> SourceRecord:
        label, prefix = self._said
        found = SourceRecord.of(self._path, label=label, role=self._role, prefix=prefix)
        self.require_same()
        return found.model_copy(update={"name": as_text(self._name)})

    @cached_property
    def _said(self) -> tuple[str, str]:
        """Label and prefix, from the file itself where it was not opened yet."""
        content = self.content
        return content.label, content.prefix

    def require_same(self) -> None:
        """Refuse a file that is not the one that was first seen.

        Raises:
            InputError: size or time of change are others.
        """
        if _stamp(self._path) != self._stamp:
            raise InputError(
                f"{self._path}: changed while it was in use, so what has been made from it is"
                " not of one piece; run the same command again"
            )


def _versions(model: nn.Module) -> list[int]:
    """Return how often each weight was changed in place."""
    return [parameter._version for parameter in model.parameters()]


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and time of change; nothing where reading will say what is wrong."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_size, found.st_mtime_ns


def open_models(
    folder: Path,
    *,
    lora: Mapping[str, Path] = {},
    only: Sequence[str] = (*TRANSFORMERS, TRACKER),
    codec: Path | None = None,
) -> ModelSet:
    """Open the codec of a folder, if it holds one, and these networks, once.

    Raises:
        InputError: as `Checkpoints`.
    """
    return Checkpoints(folder, lora, codec=codec).models_for(only)


def lora_owner(folder: Path, lora: Path) -> str:
    """Return which transformer of a folder a LoRA file belongs to, by its keys and shapes.

    Raises:
        InputError: the file fits none of them or both, or something cannot be read.
    """
    overlay = read_lora(lora, weights_checked=True).state  # who uses it looks at its weights
    shapes = {key: tuple(value.shape) for key, value in overlay.items()}
    present = Checkpoints(folder).dims
    fitting = [
        name
        for name, dims in present.items()
        # One with more layers than there are tensors is not worth building.
        if dims.n_layers <= len(shapes) and shapes == lora_shapes(dims, lora_rank(overlay))
    ]
    if len(fitting) == 1:
        return fitting[0]
    said = "both" if fitting else "none"
    raise InputError(
        f"{lora}: by its keys and shapes it fits {said} of the transformers of {folder}"
        f" ({listed(list(present)) or 'which holds no transformer'}); say which one it is for,"
        " as coarse=FILE or c2f=FILE"
    )


def require_fit(
    codec: CodecDims | None,
    transformers: Mapping[str, VampNetDims],
    files: Mapping[str, Path],
) -> None:
    """Refuse networks of a folder that are not of one set; `files` by network.

    Raises:
        InputError: naming the files and what differs.
    """
    for name, dims in transformers.items():
        if codec is None:
            break
        problems = []
        if dims.vocab_size != codec.codebook_size:
            problems.append(
                f"vocab_size {dims.vocab_size} against codebook_size {codec.codebook_size}"
            )
        if dims.n_codebooks > codec.n_codebooks:
            problems.append(f"{dims.n_codebooks} codebooks against {codec.n_codebooks}")
        used = sorted(set(codec.codebook_dims[: dims.n_codebooks]))
        if used != [dims.latent_dim]:
            widths = ", ".join(map(str, used))
            problems.append(f"latent_dim {dims.latent_dim} against codebook_dim {widths}")
        if problems:
            raise InputError(
                f"{files[name]} and {files[CODEC]} do not fit each other:"
                f" {'; '.join(problems)}. Use the codec the transformer was trained on"
            )
    if len(transformers) == len(TRANSFORMERS):
        coarse, c2f = (transformers[name] for name in TRANSFORMERS)
        if coarse.n_codebooks != c2f.n_conditioning_codebooks:
            raise InputError(
                f"{files['coarse']} has {coarse.n_codebooks} codebooks, but {files['c2f']} is"
                f" conditioned on {c2f.n_conditioning_codebooks}; they are not a pair"
            )
