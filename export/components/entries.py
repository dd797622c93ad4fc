"""The modules that are exported: the published networks with the entry points of the files.

Attribute names are the published ones, so the module path kept on every node of the graph is
the path a person finds in the checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vampnet_onnx.models.networks.lac import LAC
from vampnet_onnx.models.networks.quantize import ResidualVectorQuantize
from vampnet_onnx.models.networks.vampnet import CodebookEmbedding, VampNet


class CodesEmbedding(nn.Module):
    """Codes (int64 [B, C, T]) to the transformer's width (float [B, T, D])."""

    def __init__(
        self, embedding: CodebookEmbedding, quantizer: ResidualVectorQuantize
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.quantizer = quantizer

    def forward(self, codes: Tensor) -> Tensor:
        """Look up and project; the mask token is allowed."""
        latents = self.embedding.from_codes(codes, self.quantizer)
        out: Tensor = self.embedding(latents)
        return out.transpose(1, 2)


class LatentsEmbedding(nn.Module):
    """Latents (float [B, C * width, T]) to the transformer's width (float [B, T, D])."""

    def __init__(self, embedding: CodebookEmbedding) -> None:
        super().__init__()
        self.out_proj = embedding.out_proj

    def forward(self, latents: Tensor) -> Tensor:
        """Project."""
        out: Tensor = self.out_proj(latents)
        return out.transpose(1, 2)


class Transformer(nn.Module):
    """Codes or latents to logits (float [B, V, T * P], time-major, codebook-minor)."""

    def __init__(self, model: VampNet, quantizer: ResidualVectorQuantize | None) -> None:
        """Take the parts of a model.

        Args:
            model: shared, and changed by passes that run on this module.
            quantizer: holds the codebook tables; None for the entry by latents.
        """
        super().__init__()
        self.embedding: nn.Module = (
            LatentsEmbedding(model.embedding)
            if quantizer is None
            else CodesEmbedding(model.embedding, quantizer)
        )
        self.transformer = model.transformer
        self.classifier = model.classifier

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict logits."""
        x = self.transformer(self.embedding(inputs))
        logits: Tensor = self.classifier(x.transpose(1, 2))
        return logits


class CodecEncoder(nn.Module):
    """Audio (float [B, 1, samples]) to codes (int64 [B, N, T]) and latents (float)."""

    def __init__(self, codec: LAC) -> None:
        super().__init__()
        self.codec = [codec]  # its parts are registered below, under the published names
        self.encoder = codec.encoder
        self.quantizer = codec.quantizer

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Pad to the hop and encode, any length from 1."""
        quantized = self.quantizer(self.encoder(self.codec[0].pad(audio)))
        return quantized.codes, quantized.latents


class CodesToLatents(nn.Module):
    """Codes (int64 [B, n, T]) to latents (float [B, latent_dim, T]); mask reads as 0."""

    def __init__(self, codec: LAC) -> None:
        super().__init__()
        self.quantizer = codec.quantizer
        self.mask_token = codec.dims.codebook_size

    def forward(self, codes: Tensor) -> Tensor:
        """Look up, project and sum."""
        codes = torch.where(codes == self.mask_token, 0, codes)
        z: Tensor = self.quantizer.from_codes(codes).z
        return z


class CodecDecoder(nn.Module):
    """Codes (int64 [B, n, T]) to audio (float [B, 1, T * hop]), n from 1 to all."""

    def __init__(self, codec: LAC) -> None:
        super().__init__()
        self.quantizer: nn.Module = CodesToLatents(codec)
        self.decoder = codec.decoder

    def forward(self, codes: Tensor) -> Tensor:
        """Decode."""
        audio: Tensor = self.decoder(self.quantizer(codes))
        return audio
