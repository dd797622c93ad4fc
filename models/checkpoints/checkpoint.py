"""Strict reading of checkpoints in the published format, and writing them.

A checkpoint is ``torch.save({"state_dict": ..., "metadata": {"kwargs": {...}}})``.  The
published packages load it with ``strict=False`` and let missing and unexpected keys pass in
silence; here every key is consumed and every parameter set, or loading fails and names them.
Files are untrusted: they are opened with ``weights_only=True`` and nothing else.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import CODEC
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.models.networks.dims import DEFAULTS, CodecDims, VampNetDims
from vampnet_onnx.models.networks.lac import LAC
from vampnet_onnx.models.networks.vampnet import VampNet

from .content import read_content
from .unpickle import check_weights, clean_state, listed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LORA_SUFFIXES = (".lora_A", ".lora_B")

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint:
    """One opened file of weights.

    Attributes:
        state: tensors by published name, weight-norm keys in the old style.
        kwargs: the published constructor's keywords; none where it is a LoRA overlay.
        label: what its metadata says of the weights, ``random`` for random ones; else empty.
        prefix: what stood before every key and was taken off, such as ``_orig_mod.``.
    """

    path: Path
    state: dict[str, Tensor]
    kwargs: dict[str, Any]
    label: str = ""
    prefix: str = ""


def read_checkpoint(path: Path, *, weights_checked: bool = False) -> Checkpoint:
    """Open one checkpoint file.

    With `weights_checked`, every weight is known to be fit, and none is looked at.

    Raises:
        InputError: the file is missing, truncated, no checkpoint, wants to run code, has no
            ``metadata.kwargs``, or holds non-finite or non-float weights.
    """
    content = read_content(path)
    kwargs = content.kwargs
    state = clean_state(content.state, path)
    if not weights_checked:
        check_weights(state, path)
    return Checkpoint(path, state, kwargs, content.label, content.prefix)


def read_lora(path: Path, *, weights_checked: bool = False) -> Checkpoint:
    """Open a LoRA overlay: a file with ``*.lora_A`` and ``*.lora_B`` keys only.

    Both a bare mapping of tensors and one under ``state_dict`` are accepted.

    Raises:
        InputError: as `read_checkpoint`, or other keys are present.
    """
    content = read_content(path, bare=True)
    if not content.state:
        raise InputError(f"{path}: not a LoRA file: no tensors inside")
    state = clean_state(content.state, path)
    if not weights_checked:
        check_weights(state, path)
    others = [key for key in state if not key.endswith(_LORA_SUFFIXES)]
    if others:
        raise InputError(
            f"{path}: a LoRA file holds only *.lora_A and *.lora_B keys, but this one has"
            f" {listed(others)}"
        )
    return Checkpoint(path, state, {}, content.label, content.prefix)


def load_codec(checkpoint: Checkpoint) -> LAC:
    """Build the codec of a checkpoint and set every parameter of it.

    Raises:
        InputError: keywords or keys do not fit.
    """
    dims = CodecDims.from_kwargs(checkpoint.kwargs, str(checkpoint.path))
    _refuse_more_parts_than_keys(checkpoint, max(dims.n_codebooks, len(dims.encoder_rates)))
    return strict_load(lambda: LAC(dims), checkpoint.state, checkpoint.path)


def load_vampnet(checkpoint: Checkpoint, *, lora: Checkpoint | None = None) -> VampNet:
    """Build the transformer of a checkpoint and set every parameter of it.

    The LoRA tensors of an opened overlay take the place of the checkpoint's own.

    Raises:
        InputError: keywords, keys or the overlay do not fit.
    """
    dims = VampNetDims.from_kwargs(checkpoint.kwargs, str(checkpoint.path))
    _refuse_more_parts_than_keys(checkpoint, max(dims.n_layers, 1))
    state = {**checkpoint.state, **(lora.state if lora else {})}
    rank = lora_rank(state)
    if lora is not None:
        _require_keys(lora_shapes(dims, rank), lora.state, lora.path)
    return strict_load(lambda: VampNet(dims, rank=rank), state, checkpoint.path)


def strict_load(
    build: Callable[[], M],
    state: dict[str, Tensor],
    path: Path,
    said: str = "the dimensions in its metadata.kwargs",
) -> M:
    """Build a module without memory of its own and give it the checkpoint's tensors.

    Raises:
        InputError: naming every key that does not fit what was `said` of the module.
    """
    with torch.device("meta"):
        module = build()
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    _require_keys(expected, state, path, said)
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _require_keys(
    expected: Mapping[str, tuple[int, ...]],
    state: Mapping[str, Tensor],
    path: Path,
    said: str = "the dimensions in its metadata.kwargs",
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
        raise InputError(f"{path}: state_dict does not fit {said}; " + "; ".join(problems))


def lora_rank(state: Mapping[str, Tensor]) -> int:
    """Return the rank of the LoRA tensors of a state dict, 0 without any."""
    ranks = [
        value.shape[0]
        for key, value in state.items()
        if key.endswith(".lora_A") and value.ndim
    ]
    return ranks[0] if ranks else int(any(k.endswith(_LORA_SUFFIXES) for k in state))


def lora_shapes(dims: VampNetDims, rank: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the LoRA tensors that a transformer has."""
    with torch.device("meta"):
        state = VampNet(dims, rank=rank).state_dict()
    return {k: tuple(v.shape) for k, v in state.items() if k.endswith(_LORA_SUFFIXES)}


def _refuse_more_parts_than_keys(checkpoint: Checkpoint, parts: int) -> None:
    if parts > len(checkpoint.state):
        raise InputError(
            f"{checkpoint.path}: metadata.kwargs asks for {parts} layers or codebooks, but"
            f" the state_dict has only {len(checkpoint.state)} keys"
        )


def spoken_kwargs(name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return every keyword of a published constructor, as a file that we write states them.

    Left to the published defaults, a file would ask for the attention of another package
    (``flash_attn``), and change its meaning where a later version changes a default.

    Args:
        name: of the network: ``codec``, ``coarse`` or ``c2f``.
        kwargs: those that are said of it.
    """
    defaults = shipped(DEFAULTS)
    if name == CODEC:
        return {**defaults["codec"], **kwargs}
    return {**defaults["vampnet"], "ctrl_dims": None, "flash_attn": False, **kwargs}


def save_checkpoint(content: object, path: Path) -> None:
    """Save as `torch.save`, which hides why it could not write behind an error of its own.

    Raises:
        OSError: what the operating system said.
    """
    with path.open("wb") as stream:
        noting = _NotingStream(stream)
        try:
            torch.save(content, cast(IO[bytes], noting))
        except RuntimeError:
            if noting.error is not None:
                raise noting.error from None
            raise


class _NotingStream(io.RawIOBase):
    """Passes writes on and keeps the first error of the operating system."""

    def __init__(self, stream: BinaryIO) -> None:
        self.error: OSError | None = None
        self._stream = stream

    def write(self, data: "ReadableBuffer") -> int:
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = self.error or error
            raise
