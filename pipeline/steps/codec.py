"""Audio to codes and back, a window at a time.

A frame depends on a number of frames on each side that was measured at export
(`context_frames` in the manifest), so windows with that much around them give what the whole
would: equal but for the rounding of sums that are taken in another order.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.version.components import Components

from .checks import require_codes
from .noise import Floats, Integers
from .streaming import windows

# Seconds of audio in a window: long against the context (0.2 s in the released codec), short
# against memory (the released decoder takes some 100 MB a second).
_WINDOW_S = 5.0


def encode_stream(
    components: Components, audio: Iterable[Floats], *, window_s: float = _WINDOW_S
) -> Iterator[Integers]:
    """Encode prepared audio.

    Args:
        audio: float32 [B, 1, samples] pieces, together a multiple of the hop long.

    Yields:
        int64 [B, codebooks, frames] pieces.

    Raises:
        InputError: a component is missing.
    """
    session, hop = components.session("codec_encoder"), components.codec.hop_length
    context = components.number("codec_encoder", "context_frames")
    size = max(1, components.codec.frames_of(window_s))
    for window in windows(audio, size=size * hop, context=context * hop):
        codes = session.run({"audio": window.data})["codes"]
        yield codes[..., window.start // hop : -(-window.stop // hop)]


def decode_stream(
    components: Components, codes: Iterable[Integers], *, window_s: float = _WINDOW_S
) -> Iterator[Floats]:
    """Decode codes the way the published ``Interface.decode`` does.

    Mask tokens become code 0, and codes whose row points the same way as an earlier one of
    their codebook become that one.

    Args:
        codes: int64 [B, codebooks, frames] pieces, of all codebooks or the first few.

    Yields:
        float32 [B, 1, frames * hop] pieces.

    Raises:
        InputError: a component is missing, or codes are out of range.
    """
    session, codec = components.session("codec_decoder"), components.codec
    context = components.number("codec_decoder", "context_frames")
    replaced = _replacements(components)
    hop, size = codec.hop_length, max(1, codec.frames_of(window_s))
    for window in windows(codes, size=size, context=context):
        known = window.data
        books = known.shape[1] if known.ndim == 3 else 0
        if not 1 <= books <= codec.n_codebooks:
            raise InputError(
                f"codes must be [batch, 1 to {codec.n_codebooks}, steps], not"
                f" {list(known.shape)}; were they made with these artifacts?"
            )
        require_codes(known, n_codebooks=books, mask_token=codec.codebook_size)
        rows = replaced[np.arange(books)[:, None], known]
        audio = session.run({"codes": rows})["audio"]
        yield audio[..., window.start * hop : window.stop * hop]


def _replacements(components: Components) -> Integers:
    """Return what each code is decoded as, int64 [codebooks, entries + 1]."""
    codec = components.codec
    table = np.tile(np.arange(codec.codebook_size + 1), (codec.n_codebooks, 1))
    for book, code, other in components.triples("codec_decoder", "requantised"):
        table[book, code] = other
    # The mask token reads as code 0 before re-quantising.
    table[:, -1] = table[:, 0]
    return table
