"""The beat tracker's checkpoint, a file of PyTorch Lightning, opened strictly.

Its dimensions are those of its tensors; of its hyper-parameters only the rates and the
dilations are used, and those that ask for another network are refused.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.models.networks.dims import DEFAULTS, TrackerDims
from vampnet_onnx.models.networks.wavebeat import WaveBeat

from .checkpoint import Checkpoint, strict_load
from .content import read_content
from .unpickle import check_weights, clean_state

# What the published network can do otherwise, and no tensor's shape tells.
_UNDERSTOOD = {
    "stride": 2,
    "causal": False,
    "skip_connections": False,
    "grouped": False,
    "norm_type": "BatchNorm",
    "act_type": "PReLU",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.")
# Counts of training batches, which nothing is computed from.
_COUNTS = ".num_batches_tracked"
_MOST_BLOCKS = 16
_LARGEST = 1 << 20


def read_tracker(path: Path, *, weights_checked: bool = False) -> Checkpoint:
    """Open a beat tracker's checkpoint; its keywords are the file's hyper-parameters.

    Raises:
        InputError: it cannot be read, wants to run code, or holds non-finite weights.
    """
    content = read_content(path, lightning=True)
    raw = {key: value for key, value in content.state.items() if not _is_count(key)}
    state = clean_state(raw, path)
    if not weights_checked:
        check_weights(state, path)
    kwargs = dict(content.hyper_parameters)
    return Checkpoint(path, state, kwargs, content.label, content.prefix)


def tracker_dims(checkpoint: Checkpoint) -> TrackerDims:
    """Return the dimensions that a checkpoint's tensors and hyper-parameters say.

    Raises:
        InputError: naming the key or the hyper-parameter that does not fit.
    """
    path, state = checkpoint.path, checkpoint.state
    for name, value in _UNDERSTOOD.items():
        given = checkpoint.kwargs.get(name, value)
        if not isinstance(given, (bool, int, float, str)) or given != value:
            raise InputError(
                f"{path}: hyper_parameters.{name} = {given!r:.80}; understood is {value!r}"
            )
    numbers = sorted({int(m[1]) for key in state if (m := _BLOCK.match(key))})
    if not numbers or numbers != list(range(len(numbers))) or len(numbers) > _MOST_BLOCKS:
        raise InputError(
            f"{path}: a beat tracker has blocks.0 to blocks.N, this file has {numbers}"
        )

    def shape(key: str, axes: int) -> tuple[int, ...]:
        found = state.get(key)
        if found is None or found.ndim != axes or not found.numel():
            said = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise InputError(f"{path}: {key} is {said}; a beat tracker has {axes} axes there")
        return tuple(found.shape)

    convolutions = [shape(f"blocks.{n}.conv1.weight", 3) for n in numbers]
    kernels = {kernel for _, _, kernel in convolutions}
    if len(kernels) > 1 or not min(kernels) % 2:
        raise InputError(
            f"{path}: blocks.N.conv1.weight have {sorted(kernels)} taps; one odd number is"
            " understood"
        )
    dims = TrackerDims(
        audio_sample_rate=_integer(checkpoint, "audio_sample_rate"),
        kernel_size=kernels.pop(),
        channels=tuple(outputs for outputs, _, _ in convolutions),
        dilation_growth=_integer(checkpoint, "dilation_growth"),
        stack_size=_integer(checkpoint, "stack_size"),
    )
    if dims.dilation_growth ** min(dims.stack_size, len(numbers)) > _LARGEST:
        raise InputError(
            f"{path}: dilation_growth = {dims.dilation_growth} over stack_size ="
            f" {dims.stack_size} blocks is beyond any audio"
        )
    _require_rate(checkpoint, dims)
    return dims


def load_tracker(checkpoint: Checkpoint) -> WaveBeat:
    """Build the tracker of a checkpoint and set every parameter of it.

    Raises:
        InputError: naming every key that is missing, unexpected or misshapen.
    """
    dims = tracker_dims(checkpoint)
    said = "a beat tracker of its convolutions"
    return strict_load(lambda: WaveBeat(dims), checkpoint.state, checkpoint.path, said)


def tracker_content(
    state: Mapping[str, Tensor], dims: TrackerDims, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is in a beat tracker's file, as PyTorch Lightning saves it."""
    return {
        "pytorch-lightning_version": "1.3.8",
        "state_dict": state,
        "hyper_parameters": {
            "audio_sample_rate": dims.audio_sample_rate,
            "target_sample_rate": dims.frame_rate,
            "dilation_growth": dims.dilation_growth,
            "stack_size": dims.stack_size,
        },
        "metadata": metadata,
    }


def _require_rate(checkpoint: Checkpoint, dims: TrackerDims) -> None:
    given = checkpoint.kwargs.get("target_sample_rate")
    fits = isinstance(given, (int, float)) and abs(given / dims.frame_rate - 1) < 0.01
    if not fits:  # rounded, it may be; of another number of halvings it may not
        raise InputError(
            f"{checkpoint.path}: hyper_parameters.target_sample_rate = {given!r:.80}, but"
            f" {len(dims.channels)} blocks make {dims.frame_rate:.2f} frames a second of"
            f" {dims.audio_sample_rate} Hz"
        )


def _integer(checkpoint: Checkpoint, name: str) -> int:
    values: Mapping[str, Any] = {**shipped(DEFAULTS)["wavebeat"], **checkpoint.kwargs}
    value = values.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
        raise InputError(
            f"{checkpoint.path}: hyper_parameters.{name} = {value!r:.80} is no whole number"
            f" from 1 to {_LARGEST}"
        )
    return value


def _is_count(key: object) -> bool:
    return isinstance(key, str) and key.endswith(_COUNTS)
