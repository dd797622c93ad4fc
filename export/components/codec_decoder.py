"""The codec's decoder: codes of the first n codebooks to audio."""

import torch
from torch import Tensor, nn

from vampnet_onnx.export.passes import FoldSnake, FoldWeightNorm, StackCodebooks
from vampnet_onnx.export.passes.sharing import sharing_copy
from vampnet_onnx.export.passes.stack_codebooks import CodesToLatents
from vampnet_onnx.models import LAC, ModelSet

from .component import (
    Exporter,
    Structure,
    TracedComponent,
    codec_of,
    seeded_codes,
    signature,
)
from .context import context_frames


class CodecDecoder(nn.Module):
    """Codes (int64 [B, n, T]) to audio (float [B, 1, T * hop]), n from 1 to all.

    Attribute names are the published ones, as in `CodecEncoder`.
    """

    def __init__(self, codec: LAC) -> None:
        super().__init__()
        self.quantizer: nn.Module = CodesToLatents(codec)
        self.decoder = codec.decoder

    def forward(self, codes: Tensor) -> Tensor:
        """Decode."""
        audio: Tensor = self.decoder(self.quantizer(codes))
        return audio


def codec_decoder(models: ModelSet, variant: str = "") -> TracedComponent:
    """Prepare the decoder."""
    whole = codec_of(models, "codec_decoder")
    codec = sharing_copy(whole)
    dims = codec.dims
    # Not all codebooks where there are several: the axis must stay free.
    books = max(1, dims.n_codebooks - 1)
    return TracedComponent(
        name="codec_decoder",
        variant=variant,
        module=CodecDecoder(codec),
        passes=(FoldWeightNorm(), FoldSnake(), StackCodebooks()),
        example=(seeded_codes(books, dims.codebook_size + 1),),
        inputs=(signature("codes", "int64", "batch", "codebooks", "frames"),),
        outputs=(signature("audio", "float32", "batch", 1, "samples"),),
        dims=dims,
        structure=Structure("codec_decoder", variant, dims),
        measured=lambda: {
            "context_frames": decoder_context(whole),
            "requantised": requantised(whole),
        },
    )


def decoder_context(codec: LAC) -> int:
    """Return the frames on each side on which a frame's audio depends."""
    hop, width = codec.dims.hop_length, codec.dims.latent_dim

    def reached(frames: int) -> Tensor:
        z = torch.zeros(1, width, frames)
        z[..., frames // 2] = torch.nan
        audio: Tensor = codec.decoder(z)
        return audio.isnan()[0, 0].reshape(frames, hop).any(dim=1)

    return context_frames("decoder", codec.decoder, torch.zeros(1, width, 1), reached)


def requantised(codec: LAC) -> list[list[int]]:
    """Return the codes that re-quantising changes, as [codebook, code, new code].

    The published ``Interface.decode`` looks up rows and quantises them again, each codebook by
    itself, so a row that points the same way as an earlier one becomes that one.  Codebooks
    without such rows, so most, have none.
    """
    books, entries = codec.dims.n_codebooks, codec.dims.codebook_size
    codes = torch.arange(entries).expand(1, books, -1)
    with torch.inference_mode():
        latents = codec.quantizer.from_codes(codes).latents
        found = codec.quantizer.from_latents(latents).codes
    return [
        [book, code, int(found[0, book, code])]
        for _, book, code in (found != codes).nonzero().tolist()
    ]


EXPORTERS = (Exporter("codec_decoder", 20, codec_decoder, is_traced=True),)
