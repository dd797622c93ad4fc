"""Random checkpoints in the published format, labelled as what they are.

They prove arithmetic, not usefulness: nothing made from them is music.  The label travels
from the metadata into every manifest and every report.
"""

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import file_errors, replacing
from vampnet_onnx.configs.names import CODEC, TRACKER, TRANSFORMERS
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.models.networks.dims import CodecDims, TrackerDims, VampNetDims
from vampnet_onnx.models.networks.lac import LAC
from vampnet_onnx.models.networks.vampnet import VampNet
from vampnet_onnx.models.networks.wavebeat import WaveBeat

from .checkpoint import save_checkpoint, spoken_kwargs
from .content import RANDOM_LABEL
from .tracker import tracker_content

LORA_RANK = 8

# The generator takes no larger ones; they wrap around.
_SEEDS = 1 << 63


def sizes() -> dict[str, dict[str, dict[str, Any]]]:
    """Return the known sizes: kwargs by size and file name without suffix."""
    return shipped("sizes.toml")


def write_random_set(
    folder: Path,
    *,
    like: str,
    seed: int,
    beats: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Write ``codec.pth``, ``coarse.pth`` and ``c2f.pth`` with random weights.

    With `beats` also ``wavebeat.pth``.

    Args:
        folder: made if it does not exist.
        seed: the same seed gives the same weights.
        progress: told each file's name before it is made.

    Raises:
        InputError: an unknown size, a file that exists, or a folder that cannot be written.
    """
    if like not in sizes():
        raise InputError(f"no size {like!r}; known are {', '.join(sizes())}")
    targets = [folder / f"{name}.pth" for name in (CODEC, *TRANSFORMERS)]
    tracker = [folder / f"{TRACKER}.pth"] if beats else []
    with file_errors(folder):
        existing = [target for target in (*targets, *tracker) if target.exists()]
    if existing:
        raise InputError(f"{existing[0]}: exists already; choose another folder")
    try:
        for number, target in enumerate(targets):
            progress(target.name)
            kwargs = sizes()[like][target.stem]
            draw = seed * len(targets) + number
            write_random_file(target, kwargs, seed=seed, draw=draw)
        for target in tracker:
            progress(target.name)
            write_random_tracker(target, like=like, seed=seed)
    except BaseException:
        for target in (*targets, *tracker):
            with contextlib.suppress(OSError):  # where the folder could not even be made
                target.unlink(missing_ok=True)
        raise
    return [*targets, *tracker]


def write_random_file(
    target: Path, kwargs: dict[str, Any], *, seed: int, draw: int | None = None
) -> None:
    """Write one checkpoint with random weights: ``codec.pth``, ``coarse.pth`` or ``c2f.pth``.

    Args:
        draw: seed of the generator, where it is another.

    Raises:
        InputError: impossible keywords, or a folder that cannot be written.
    """
    generator = torch.Generator().manual_seed((seed if draw is None else draw) % _SEEDS)
    module: nn.Module
    with torch.device("meta"):
        if target.stem == CODEC:
            module = LAC(CodecDims.from_kwargs(kwargs, "sizes.toml"))
        else:
            module = VampNet(VampNetDims.from_kwargs(kwargs, "sizes.toml"), rank=LORA_RANK)
    content = {
        "state_dict": random_state(module, generator),
        "metadata": {
            "kwargs": spoken_kwargs(target.stem, kwargs),
            RANDOM_LABEL: True,
            "seed": seed,
        },
    }
    with replacing(target) as temporary:
        save_checkpoint(content, temporary)


def write_random_tracker(target: Path, *, like: str = "tiny", seed: int) -> None:
    """Write a beat tracker's checkpoint with random weights, as PyTorch Lightning saves it.

    Raises:
        InputError: a folder that cannot be written.
    """
    dims = TrackerDims(**sizes()[like][TRACKER])
    with torch.device("meta"):
        module = WaveBeat(dims)
    state = random_state(module, torch.Generator().manual_seed(seed % _SEEDS))
    content = tracker_content(state, dims, {RANDOM_LABEL: True, "seed": seed})
    with replacing(target) as temporary:
        save_checkpoint(content, temporary)


def random_state(module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw every tensor of a module with a spread that keeps activations near unit variance.

    The module may be on any device, ``meta`` included: its own tensors are not read.
    """
    state = {}
    for name, value in module.state_dict().items():
        last = name.rpartition(".")[2]
        noise = torch.randn(value.shape, generator=generator)
        if last == "weight_g":  # the norm of a row: its gain for unit-variance input
            state[name] = _gain(name) * (1 + 0.1 * noise)
        elif last == "alpha" or last == "running_var":
            state[name] = (1 + 0.2 * noise).clamp(min=0.2)
        elif name.endswith("act1.weight"):
            state[name] = 0.25 + 0.1 * noise
        elif last in ("bias", "running_mean"):
            state[name] = 0.05 * noise
        elif "norm" in name:
            state[name] = 1 + 0.1 * noise
        elif last == "weight_v" or name.endswith(("codebook.weight", "MASK")):
            state[name] = noise
        else:
            state[name] = noise / math.sqrt(value[0].numel())
    return state


def _gain(name: str) -> float:
    """Return less than one where a residual sum or the output's tanh would pile up."""
    if name.endswith(("block.3.weight_g", "layer.3.weight_g")):
        return 0.3
    if name.startswith("decoder.model") and name.count(".") == 3 and ".0." not in name:
        return 0.1
    return 1.0
