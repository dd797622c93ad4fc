"""Cutting a stream of arrays into windows, so that a part can be computed with what it needs.

A result that depends on at most `context` positions on each side can be computed window by
window: each window holds `size` positions and up to `context` more on each side, and what was
computed for those is cut off again.  At the ends of the stream a window ends, too, so the
padding there is that of the whole.

    stream    |----------------------------|
    window 1  [  size  |context]
    window 2      [context|  size  |context]
    window 3                  [context|size]
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import InputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """A stretch of a stream with what surrounds it.

    Attributes:
        data: array [..., length].
        start: position in `data` of the first one that counts.
        stop: position after the last one that counts.
    """

    data: Array
    start: int
    stop: int


def windows(stream: Iterable[Array], *, size: int, context: int) -> Iterator[Window]:
    """Cut a stream.

    Args:
        stream: arrays [..., n] of any lengths n, the same otherwise.
        size: positions of each window that count; the last has as many as are left.
        context: positions given on each side, where there are so many.

    Yields:
        Windows whose counted stretches, joined, are the stream.  At most
        size + 2 * context positions and the longest array of the stream are held.
    """
    held: Array | None = None
    lead = 0  # positions held that have been counted already
    for block in stream:
        held = block if held is None else np.concatenate([held, block], axis=-1)
        while held.shape[-1] >= lead + size + context + 1:
            yield Window(held[..., : lead + size + context], lead, lead + size)
            kept = min(lead + size, context)
            held = held[..., lead + size - kept :]
            lead = kept
    while held is not None and held.shape[-1] > lead:
        stop = min(lead + size, held.shape[-1])
        yield Window(held[..., : stop + context], lead, stop)
        kept = min(stop, context)
        held = held[..., stop - kept :]
        lead = kept


def pieces(array: Array, size: int) -> Iterator[Array]:
    """Give an array [..., n] as a stream of views [..., up to size]."""
    for start in range(0, array.shape[-1], size):
        yield array[..., start : start + size]


def joined(stream: Iterable[Array]) -> Array:
    """Return a stream as one array.

    Raises:
        InputError: the stream is empty.
    """
    parts = list(stream)
    if not parts:
        raise InputError("there is nothing in the stream")
    return np.concatenate(parts, axis=-1)
