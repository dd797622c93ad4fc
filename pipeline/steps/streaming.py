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

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import InputError

Array = NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Window:
    """A stretch of a stream with what surrounds it.

    Attributes:
        data: array [..., length].
        start: position in `data` of the first one that counts.
        stop: position after the last one that counts.
        at: where the first one that counts is in the stream.
    """

    data: Array
    start: int
    stop: int
    at: int


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
    uncut = _Uncut(context)
    for block in stream:
        uncut.add(block)
        while uncut.left > size + context:
            yield uncut.cut(size)
    while uncut.left:
        yield uncut.cut(min(size, uncut.left))


def even_windows(
    stream: Iterable[Array], *, size: int, context: int, unit: int = 1
) -> Iterator[Window]:
    """Cut a stream into one window or an even number of them, so that two at once end at once.

    Where they lie depends on the stream's length alone.  A stream shorter than two sizes is
    one window.  Of a longer one windows hold `size`, until what is left is two to five sizes:
    that is cut into two or four alike.

    Args:
        stream: arrays [..., n] of any lengths n, the same otherwise.
        size: units of each window that count.
        context: units given on each side, where there are so many.
        unit: positions that stay together.

    Yields:
        Windows as of `windows`.  At most five sizes, two contexts and the longest array of
        the stream are held.
    """
    uncut = _Uncut(context * unit)
    for block in stream:
        uncut.add(block)
        while uncut.left >= max(5 * size, 2 * size + context) * unit:
            yield uncut.cut(size * unit)
            yield uncut.cut(size * unit)
    units = -(-uncut.left // unit)
    for more in range(number_of_windows(units, size), 0, -1) if units else ():
        count = -(-units // more)
        yield uncut.cut(min(count * unit, uncut.left))
        units -= count


def number_of_windows(units: int, size: int) -> int:
    """Return how many windows `even_windows` cuts of what it holds at the end."""
    return 1 if units < 2 * size else 2 * ((units + size) // (2 * size))


class _Uncut:
    """What of a stream is not cut yet, with what is in front of it."""

    def __init__(self, context: int) -> None:
        self._held: Array | None = None
        self._context = context
        self._lead = 0  # positions held that have been counted already
        self._at = 0

    @property
    def left(self) -> int:
        """Return the positions that have not been counted."""
        return 0 if self._held is None else self._held.shape[-1] - self._lead

    def add(self, block: Array) -> None:
        """Take the next array [..., n] of the stream."""
        held = self._held
        self._held = block if held is None else np.concatenate([held, block], axis=-1)

    def cut(self, count: int) -> Window:
        """Return the window of the next positions, of which so many are held."""
        assert self._held is not None
        stop = self._lead + count
        window = Window(self._held[..., : stop + self._context], self._lead, stop, self._at)
        self._at += count
        self._lead = min(stop, self._context)
        self._held = self._held[..., stop - self._lead :]
        return window


def at_once(
    run: Callable[[Item], Result], items: Iterable[Item], *, most: int
) -> Iterator[Result]:
    """Compute items in threads, several at once.

    The first error, of an item, of the stream of them or of who takes the results, ends all
    of it once what is running has run; nothing more begins.

    Args:
        most: items at once.  One more is held, so that no thread waits for it.

    Yields:
        The results in the order of the items.
    """
    waiting = deque[Future[Result]]()
    with ThreadPoolExecutor(most, "window") as pool:
        try:
            for item in items:
                if len(waiting) > most:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(run, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
