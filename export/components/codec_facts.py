"""What a caller of the codec's files must know beyond their signatures, measured at export.

`context_frames`: how far the networks look.  A stretch of audio or codes can be encoded or
decoded by itself if that many frames on each side of it are given, too, and cut off again.
It is measured, not derived: a NaN is put into the middle of the input and spreads to whatever
depends on it.

`requantised`: codes that the published ``Interface.decode`` replaces.  It looks up rows and
quantises them again, each codebook by itself, so a row that points the same way as an earlier
one becomes that one.  Codebooks without such rows, so most, have none.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import LAC

# Frames of the first try; doubled until what a NaN reaches ends before the edges do.
_FIRST_TRY = 33


def encoder_context(codec: LAC) -> int:
    """Return the frames on each side on which a frame's codes depend."""
    hop = codec.dims.hop_length
    _require_finite(lambda: codec.encoder(torch.zeros(1, 1, hop)), "encoder")

    def reached(frames: int) -> Tensor:
        found = torch.zeros(frames, dtype=torch.bool)
        for sample in (0, hop - 1):
            audio = torch.zeros(1, 1, frames * hop)
            audio[..., frames // 2 * hop + sample] = torch.nan
            found |= codec.encoder(audio).isnan().any(dim=1)[0]
        return found

    return _measured(reached)


def decoder_context(codec: LAC) -> int:
    """Return the frames on each side on which a frame's audio depends."""
    hop = codec.dims.hop_length
    _require_finite(lambda: codec.decoder(torch.zeros(1, codec.dims.latent_dim, 1)), "decoder")

    def reached(frames: int) -> Tensor:
        z = torch.zeros(1, codec.dims.latent_dim, frames)
        z[..., frames // 2] = torch.nan
        audio: Tensor = codec.decoder(z)
        return audio.isnan()[0, 0].reshape(frames, hop).any(dim=1)

    return _measured(reached)


def requantised(codec: LAC) -> list[list[int]]:
    """Return the codes that re-quantising changes, as [codebook, code, new code]."""
    books, entries = codec.dims.n_codebooks, codec.dims.codebook_size
    codes = torch.arange(entries).expand(1, books, -1)
    with torch.inference_mode():
        latents = codec.quantizer.from_codes(codes).latents
        found = codec.quantizer.from_latents(latents).codes
    return [
        [book, code, int(found[0, book, code])]
        for _, book, code in (found != codes).nonzero().tolist()
    ]


def _require_finite(silence: Callable[[], Tensor], part: str) -> None:
    """Refuse a network that is not finite on silence: a NaN's spread would have no end there.

    Raises:
        InputError: its weights overflow.
    """
    with torch.inference_mode():
        finite = bool(torch.isfinite(silence()).all())
    if not finite:
        raise InputError(
            f"codec.pth: the {part} computes NaN or infinite values on silence; its weights"
            " are finite but overflow float32, so the checkpoint is damaged"
        )


def _measured(reached: Callable[[int], Tensor]) -> int:
    """Return how far a middle frame reaches; `reached` gives bool [frames] for so many."""
    frames = _FIRST_TRY
    while True:
        with torch.inference_mode():
            where = reached(frames).nonzero().flatten()
        first, last = int(where[0]), int(where[-1])
        if first > 0 and last < frames - 1:
            return max(frames // 2 - first, last - frames // 2)
        frames = 2 * frames + 1
