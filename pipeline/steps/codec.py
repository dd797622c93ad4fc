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

from vampnet_onnx.configs.errors import InputError, NotFiniteError
from vampnet_onnx.pipeline.version.components import Components
from vampnet_onnx.pipeline.version.session import Opened

from .checks import require_codes
from .noise import Floats, Integers
from .streaming import Array, Window, at_once, even_windows, number_of_windows

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
        NotFiniteError: it computes NaN or infinity.
    """
    hop, rate = components.codec.hop_length, components.codec.sample_rate
    context = components.number("codec_encoder", "context_frames")
    size = frames or _size(context)

    def encode(session: Opened, window: Window) -> Integers:
        counted = slice(window.start // hop, -(-window.stop // hop))
        found = session.run({"audio": window.data})
        _require_finite(found["latents"][..., counted], "codec_encoder", window.at / rate)
        return found["codes"][..., counted]

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
        NotFiniteError: the component computes NaN or infinity.
    """
    codec, hop = components.codec, components.codec.hop_length
    context = components.number("codec_decoder", "context_frames")
    size = frames or _size(context)
    replaced = _replacements(components)

    def decode(session: Opened, window: Window) -> Floats:
        found = session.run({"codes": window.data})["audio"]
        audio = found[..., window.start * hop : window.stop * hop]
        _require_finite(audio, "codec_decoder", codec.seconds_of(window.at))
        return audio

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


def window_threads(
    components: Components, identifier: str, frames: int, *, batch: int = 1
) -> int:
    """Return with how many threads the session is opened that audio of a length needs.

    Args:
        identifier: ``codec_encoder`` or ``codec_decoder``.
        batch: channels of the audio.
    """
    size = _size(components.number(identifier, "context_frames"))
    count = number_of_windows(frames, size)
    _, threads = _at_once(components, count, batch, size, identifier == "codec_encoder")
    return threads


def _require_finite(values: Array, identifier: str, seconds: float) -> None:
    if not np.isfinite(values).all():
        raise NotFiniteError(
            f"{identifier}: computes values that are not finite in its window from"
            f" {seconds:.2f} s on; that is nonsense, so nothing is made of it. Verify the"
            " artifacts (vampnet-onnx verify)"
        )


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
    """Compute windows of so many frames; `same_bits` as of `_at_once`."""
    first = list(islice(cut, 3))
    batch = len(first[0].data) if first else 1
    most, threads = _at_once(components, len(first), batch, size, same_bits)
    session = components.session(identifier, threads=threads)
    windows, run = chain(first, cut), partial(compute, session)
    yield from map(run, windows) if most == 1 else at_once(run, windows, most=most)


def _at_once(
    components: Components, count: int, batch: int, size: int, same_bits: bool
) -> tuple[int, int]:
    """Return how many windows run at once, as threads and memory allow, and threads of each.

    A window by itself has all threads, as a clip has that is shorter than two, and two windows
    share them where there are more threads than windows use, unless the `same_bits` must
    come of any number of threads: sums are taken in another order then.

    Args:
        count: of windows.
        size: of a window, in frames.
    """
    most = 1
    if count > 1:
        seconds = components.codec.seconds_of(size) * max(1, batch)
        most = min(components.threads, max(1, int(_AT_ONCE_S / seconds)))
    share = most == 1 or (count == 2 and most >= _MANY and not same_bits)
    return most, components.runtime.threads if share else 1


def _replacements(components: Components) -> Integers:
    """Return what each code is decoded as, int64 [codebooks, entries + 1]."""
    codec = components.codec
    table = np.tile(np.arange(codec.codebook_size + 1), (codec.n_codebooks, 1))
    for book, code, other in components.triples("codec_decoder", "requantised"):
        table[book, code] = other
    # The mask token reads as code 0 before re-quantising.
    table[:, -1] = table[:, 0]
    return table
