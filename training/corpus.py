"""Pieces of music as the codec gets them, and as codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vampnet_onnx.models import LAC, CodecDims
from vampnet_onnx.models.behaviour.audio import preprocess

from .music import piece
from .styles import STYLES

AT_ONCE = 8  # pieces


def prepared_pieces(
    styles: Sequence[str], seeds: Sequence[int], *, frames: int, dims: CodecDims
) -> Iterator[Tensor]:
    """Yield pieces, prepared as audio is in front of the codec's encoder.

    Args:
        styles: names of styles, one after the other.
        seeds: of the pieces in each.
        frames: of the codec a piece has.
        dims: of the codec.

    Yields:
        float32 [up to 8, 1, frames * hop] at -24 LUFS.
    """
    rate = dims.sample_rate
    seconds = frames * dims.hop_length / rate
    wanted = [(STYLES[style], seed) for style in styles for seed in seeds]
    for first in range(0, len(wanted), AT_ONCE):
        made = [
            torch.from_numpy(piece(style, seed, seconds=seconds, rate=rate))
            for style, seed in wanted[first : first + AT_ONCE]
        ]
        yield preprocess(torch.stack(made)[:, None], rate, dims)


@torch.no_grad()
def encoded_pieces(
    codec: LAC, styles: Sequence[str], seeds: Sequence[int], *, frames: int
) -> Tensor:
    """Return the codes of pieces, int64 [pieces, codebooks, frames], on the CPU."""
    device = next(codec.parameters()).device
    pieces = prepared_pieces(styles, seeds, frames=frames, dims=codec.dims)
    return torch.cat([codec.encode(audio.to(device)).codes.cpu() for audio in pieces])


def random_segments(
    data: Tensor, *, length: int, batch: int, generator: torch.Generator, frame: int = 1
) -> Tensor:
    """Draw segments of the last axis, all of one length.

    Args:
        data: any dtype [items, ..., T].
        length: of a segment.
        batch: how many segments.
        generator: of the draws.
        frame: every other segment starts at a multiple of it.  Music that is tuned to the
            codec's frame repeats its codes from there only; a recording starts anywhere.

    Returns:
        [batch, ..., length].
    """
    items = torch.randint(len(data), (batch,), generator=generator)
    last = data.shape[-1] - length
    starts = torch.randint(last + 1, (batch,), generator=generator)
    starts[::2] -= starts[::2] % frame
    return torch.stack(
        [
            data[int(item), ..., int(start) : int(start) + length]
            for item, start in zip(items, starts, strict=True)
        ]
    )
