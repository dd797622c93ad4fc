"""How far the codec's networks look, measured at export.

A stretch of audio or codes can be encoded or decoded by itself if that many frames on each
side of it are given, too, and cut off again.  It is measured, not derived: a NaN is put into
the middle of the input and spreads to whatever depends on it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError

# Frames of the first try; doubled until what a NaN reaches ends before the edges do.
_FIRST_TRY = 33


def context_frames(reached: Callable[[int], Tensor]) -> int:
    """Return the frames on each side on which a frame depends.

    Args:
        reached: given a number of frames, which of them a NaN in the middle one reaches,
            bool [frames].
    """
    frames = _FIRST_TRY
    while True:
        with torch.inference_mode():
            where = reached(frames).nonzero().flatten()
        first, last = int(where[0]), int(where[-1])
        if first > 0 and last < frames - 1:
            return max(frames // 2 - first, last - frames // 2)
        frames = 2 * frames + 1


def require_finite(network: nn.Module, silence: Tensor, part: str) -> None:
    """Refuse a network that is not finite on silence: a NaN's spread would have no end there.

    Raises:
        InputError: its weights overflow.
    """
    with torch.inference_mode():
        finite = bool(torch.isfinite(network(silence)).all())
    if not finite:
        raise InputError(
            f"codec.pth: the {part} computes NaN or infinite values on silence; its weights"
            " are finite but overflow float32, so the checkpoint is damaged"
        )
