"""The codec's encoder: audio to codes and latents."""

import torch
from torch import Tensor, nn

from vampnet_onnx.export.passes import FoldSnake, FoldWeightNorm, NormaliseCodebooks
from vampnet_onnx.export.passes.sharing import sharing_copy
from vampnet_onnx.models import LAC, ModelSet

from .component import (
    TRACE_BATCH,
    TRACE_FRAMES,
    Exporter,
    Structure,
    TracedComponent,
    codec_of,
    seeded_normal,
    signature,
)
from .context import context_frames


class CodecEncoder(nn.Module):
    """Audio (float [B, 1, samples]) to codes (int64 [B, N, T]) and latents (float).

    Attribute names are the published ones, so the module path kept on every node of the graph
    is the path a person finds in the checkpoint.
    """

    def __init__(self, codec: LAC) -> None:
        super().__init__()
        self.codec = [codec]  # its parts are registered below, under the published names
        self.encoder = codec.encoder
        self.quantizer = codec.quantizer

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Pad to the hop and encode, any length from 1."""
        quantized = self.quantizer(self.encoder(self.codec[0].pad(audio)))
        return quantized.codes, quantized.latents


def codec_encoder(models: ModelSet, variant: str = "") -> TracedComponent:
    """Prepare the encoder."""
    whole = codec_of(models, "codec_encoder")
    codec = sharing_copy(whole)
    dims = codec.dims
    samples = TRACE_FRAMES * dims.hop_length - dims.hop_length // 3
    return TracedComponent(
        name="codec_encoder",
        variant=variant,
        module=CodecEncoder(codec),
        passes=(FoldWeightNorm(), FoldSnake(), NormaliseCodebooks()),
        example=(seeded_normal(TRACE_BATCH, 1, samples) / 4,),
        inputs=(signature("audio", "float32", "batch", 1, "samples"),),
        outputs=(
            signature("codes", "int64", "batch", dims.n_codebooks, "frames"),
            signature("latents", "float32", "batch", sum(dims.codebook_dims), "frames"),
        ),
        dims=dims,
        structure=Structure("codec_encoder", variant, dims),
        measured=lambda: {"context_frames": encoder_context(whole)},
    )


def encoder_context(codec: LAC) -> int:
    """Return the frames on each side on which a frame's codes depend."""
    hop = codec.dims.hop_length

    def reached(frames: int) -> Tensor:
        found = torch.zeros(frames, dtype=torch.bool)
        for sample in (0, hop - 1):
            audio = torch.zeros(1, 1, frames * hop)
            audio[..., frames // 2 * hop + sample] = torch.nan
            found |= codec.encoder(audio).isnan().any(dim=1)[0]
        return found

    return context_frames("encoder", codec.encoder, torch.zeros(1, 1, hop), reached)


EXPORTERS = (Exporter("codec_encoder", 10, codec_encoder, is_traced=True),)
