"""Chunks that overlap, and what is heard where they do.

The published package joins the chunks of coarse as they are, and so do we unless asked.  With
a crossfade each chunk begins as much before the end of the last, and is a variation of its
own.  Where two overlap there are two sets of codes, so a variation has its codes twice: as
the earlier chunk has them and as the later one has.  Both are decoded, and between the two

    share of the later     /|‾-_      /|‾-_        up over the overlap, down over all that
    ______________________/ |   ‾-_  / |   ‾-_     follows, where both are the same codes
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import VampSettings
from vampnet_onnx.pipeline.version.components import Codec

from .noise import Floats, Integers
from .streaming import windows

_MOST = 4  # a fade is at most such a part of a chunk
_WINDOW = 1 << 18  # samples


@dataclass(frozen=True)
class Overlaps:
    """Where chunks overlap.

    Attributes:
        every: frames from the start of one to that of the next.
        fade: frames in which two overlap.
    """

    every: int
    fade: int

    def chunks(self, frames: int) -> list[slice]:
        """Return the chunks of so many frames; the last may be shorter."""
        count = max(1, math.ceil((frames - self.fade) / self.every))
        starts = [number * self.every for number in range(count)]
        return [slice(at, min(at + self.every + self.fade, frames)) for at in starts]


@dataclass(frozen=True)
class Crossfade:
    """What codes are faded into.

    Attributes:
        later: codes as later chunks have them, int64 [..., channels, C, T].
        overlaps: where they are others than those of earlier chunks.
    """

    later: Integers
    overlaps: Overlaps

    def of(self, item: int) -> Self:
        """Return that of one item of a batch."""
        return replace(self, later=self.later[item])


def overlaps_of(crossfade_s: float, settings: VampSettings, codec: Codec) -> Overlaps | None:
    """Return where chunks overlap, or None where there is no crossfade.

    Raises:
        InputError: there cannot be such a crossfade.
    """
    require_crossfade(crossfade_s, settings)
    if not crossfade_s:
        return None
    fade = codec.frames_of(crossfade_s)
    return Overlaps(codec.frames_of(settings.coarse_chunk_s) - fade, fade)


def require_crossfade(crossfade_s: float, settings: VampSettings) -> None:
    """Refuse what cannot be, whatever the codec.

    Raises:
        InputError: it is longer than a part of a chunk, or the result is stretched.
    """
    most = settings.coarse_chunk_s / _MOST
    if not 0 <= crossfade_s <= most:
        raise InputError(
            f"crossfade_s = {crossfade_s} is outside 0 to {most:g}, a quarter of"
            " coarse_chunk_size_s"
        )
    if crossfade_s and settings.time_stretch_factor > 1:
        raise InputError(
            f"crossfade_s = {crossfade_s} and time_stretch_factor ="
            f" {settings.time_stretch_factor}: leave one out"
        )


def laid_out(parts: Sequence[Integers], chunks: Sequence[slice]) -> tuple[Integers, Integers]:
    """Lay chunks [..., n] side by side: as the earlier has an overlap, and as the later."""
    whole = np.zeros((*parts[0].shape[:-1], chunks[-1].stop), parts[0].dtype)
    earlier, later = whole, whole.copy()
    pairs = list(zip(parts, chunks, strict=True))
    for part, where in pairs:
        later[..., where] = part
    for part, where in reversed(pairs):
        earlier[..., where] = part
    return earlier, later


def crossfaded(
    earlier: Iterable[Floats], later: Iterable[Floats], *, overlaps: Overlaps, hop: int
) -> Iterator[Floats]:
    """Fade from what earlier chunks sound like to what later ones do, at every border.

    Both are float32 [channels, n] pieces of one length, which is what comes of them.
    """
    every, fade, done = overlaps.every * hop, overlaps.fade * hop, 0
    cut = [windows(stream, size=_WINDOW, context=0) for stream in (earlier, later)]
    for one, other in zip(*cut, strict=True):
        at = np.arange(done, done + one.data.shape[-1])
        share = np.interp(at % every, (0, fade, every), (0, 1, 0))
        share[at < every] = 0  # the first chunk has none before it
        yield np.asarray(one.data + share * (other.data - one.data), np.float32)
        done += len(at)
