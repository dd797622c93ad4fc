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


def context_frames(
    part: str, network: nn.Module, silence: Tensor, reached: Callable[[int], Tensor]
) -> int:
    """Return the frames on each side on which a frame depends.

    Args:
        part: what the network is called.
        network: must be finite on silence, as a NaN's spread would have no end otherwise.
        silence: an input of it.
        reached: given a number of frames, which of them a NaN in the middle one reaches,
            bool [frames].

    Raises:
        InputError: the network's weights overflow.
    """
    with torch.inference_mode():
        if not torch.isfinite(network(silence)).all():
            raise InputError(
                f"codec.pth: the {part} computes NaN or infinite values on silence; its"
                " weights are finite but overflow float32, so the checkpoint is damaged"
            )
        frames = _FIRST_TRY
        while True:
            where = reached(frames).nonzero().flatten()
            first, last = int(where[0]), int(where[-1])
            if first > 0 and last < frames - 1:
                return max(frames // 2 - first, last - frames // 2)
            frames = 2 * frames + 1
