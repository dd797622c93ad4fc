"""Audio to codes and back, a window at a time.

A frame depends on a number of frames on each side that was measured at export
(`context_frames` in the manifest), so windows with that much around them give what the whole
would: equal but for the rounding of sums that are taken in another order.

Windows run at once, each on one thread: operators of ONNX Runtime that use one thread whatever
they are given (Sin, a fifth of the codec) then cost no more than their share.  Where the
windows lie depends on the length of the audio and on the context alone; the machine decides
only how many run at once.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, islice

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.version.components import Components
from vampnet_onnx.pipeline.version.session import Opened

from .checks import require_codes
from .noise import Floats, Integers
from .streaming import Array, Window, at_once, even_windows

# Frames of a window to one of context.  What overlaps is computed twice, so that smaller
# windows cost more on any machine, and larger ones leave cores of a larger one idle.  On two
# cores 10 s of audio at released size are fastest in four windows of the encoder and two of
# the decoder; docs/performance.md has the measurement.
_FRAMES_TO_CONTEXT = 18

# Seconds of audio that may be at work at once, over all channels: the released decoder takes
# some 100 MB for each.
_AT_ONCE_S = 24.0

# Threads that two windows of one thread each leave too much of idle.
_MANY = 4


def encode_stream(
    components: Components, audio: Iterable[Floats], *, frames: int | None = None
) -> Iterator[Integers]:
    """Encode prepared audio.

    Args:
        audio: float32 [B, 1, samples] pieces, together a multiple of the hop long.
        frames: of a window; left out, as many as was found to be fastest.

    Yields:
        int64 [B, codebooks, frames] pieces.

    Raises:
        InputError: a component is missing.
    """
    hop = components.codec.hop_length
    context = components.number("codec_encoder", "context_frames")
    size = frames or _size(context)

    def encode(session: Opened, window: Window) -> Integers:
        codes = session.run({"audio": window.data})["codes"]
        return codes[..., window.start // hop : -(-window.stop // hop)]

    cut = even_windows(audio, size=size, context=context, unit=hop)
    yield from _computed(components, "codec_encoder", encode, cut, size=size, same_bits=True)


def decode_stream(
    components: Components, codes: Iterable[Integers], *, frames: int | None = None
) -> Iterator[Floats]:
    """Decode codes the way the published ``Interface.decode`` does.

    Mask tokens become code 0, and codes whose row points the same way as an earlier one of
    their codebook become that one.

    Args:
        codes: int64 [B, codebooks, frames] pieces, of all codebooks or the first few.
        frames: as for `encode_stream`.

    Yields:
        float32 [B, 1, frames * hop] pieces.

    Raises:
        InputError: a component is missing, or codes are out of range.
    """
    codec, hop = components.codec, components.codec.hop_length
    context = components.number("codec_decoder", "context_frames")
    size = frames or _size(context)
    replaced = _replacements(components)

    def decode(session: Opened, window: Window) -> Floats:
        audio = session.run({"codes": window.data})["audio"]
        return audio[..., window.start * hop : window.stop * hop]

    def known(piece: Integers) -> Integers:
        books = piece.shape[1] if piece.ndim == 3 else 0
        if not 1 <= books <= codec.n_codebooks:
            raise InputError(
                f"codes must be [batch, 1 to {codec.n_codebooks}, steps], not"
                f" {list(piece.shape)}; were they made with these artifacts?"
            )
        require_codes(piece, n_codebooks=books, mask_token=codec.codebook_size)
        return replaced[np.arange(books)[:, None], piece]

    cut = even_windows(map(known, codes), size=size, context=context)
    yield from _computed(components, "codec_decoder", decode, cut, size=size)


def _size(context: int) -> int:
    return max(1, _FRAMES_TO_CONTEXT * context)


def _computed(
    components: Components,
    identifier: str,
    compute: Callable[[Opened, Window], Array],
    cut: Iterator[Window],
    *,
    size: int,
    same_bits: bool = False,
) -> Iterator[Array]:
    """Compute windows of so many frames, as many at once as there are threads and memory for.

    A window by itself has all threads, as a clip has that is shorter than two, and two windows
    share them where there are more threads than windows use, unless the `same_bits` must
    come of any number of threads: sums are taken in another order then.
    """
    first = list(islice(cut, 3))
    most = 1
    if len(first) > 1:
        seconds = components.codec.seconds_of(size) * max(1, len(first[0].data))
        most = min(components.threads, max(1, int(_AT_ONCE_S / seconds)))
    share = most == 1 or (len(first) == 2 and most >= _MANY and not same_bits)
    session = components.session(identifier, threads=None if share else 1)
    windows, run = chain(first, cut), partial(compute, session)
    yield from map(run, windows) if most == 1 else at_once(run, windows, most=most)


def _replacements(components: Components) -> Integers:
    """Return what each code is decoded as, int64 [codebooks, entries + 1]."""
    codec = components.codec
    table = np.tile(np.arange(codec.codebook_size + 1), (codec.n_codebooks, 1))
    for book, code, other in components.triples("codec_decoder", "requantised"):
        table[book, code] = other
    # The mask token reads as code 0 before re-quantising.
    table[:, -1] = table[:, 0]
    return table
