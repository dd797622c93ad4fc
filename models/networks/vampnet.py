"""The VampNet transformer in PyTorch, under the published state-dict names.

Source: Garcia et al., "VampNet" (2023); published as ``vampnet.modules.transformer``.
Dimensions come from the checkpoint (`models.networks.dims`).  FiLM layers of the published
model have no parameters and are the identity without conditioning, so they are absent here.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .dims import VampNetDims
from .layers import LoRALinear, RMSNorm, WNConv1d
from .quantize import ResidualVectorQuantize

# Raffel et al., "T5" (2020): bidirectional relative position buckets.
POSITION_BUCKETS = 32
MAX_DISTANCE = 128


def position_bucket(relative: Tensor) -> Tensor:
    """Map a relative position (key minus query) to its bucket.

    Half of the buckets serve each direction, positive distances the upper one; in each half
    the first half is exact and the rest grows logarithmically up to `MAX_DISTANCE`.  Takes
    int64 of any shape, returns int64 in [0, POSITION_BUCKETS).
    """
    per_side = POSITION_BUCKETS // 2
    exact = per_side // 2
    distance = relative.abs()
    far = exact + (
        torch.log(distance.float() / exact)
        / math.log(MAX_DISTANCE / exact)
        * (per_side - exact)
    ).to(torch.long)
    far = far.clamp(max=per_side - 1)
    return (relative > 0).long() * per_side + torch.where(distance < exact, distance, far)


class RelativePositionBias(nn.Module):
    """Learned bias per head and bucket of relative positions; [buckets, heads] weight."""

    def __init__(self, n_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(POSITION_BUCKETS, n_heads))

    def forward(self, frames: int) -> Tensor:
        """Return the bias for `frames` queries and keys, float [heads, frames, frames]."""
        position = torch.arange(frames, device=self.weight.device)
        bucket = position_bucket(position[None, :] - position[:, None])
        return F.embedding(bucket, self.weight).permute(2, 0, 1)


class Attention(nn.Module):
    """Multi-head self-attention with an additive position bias and no mask."""

    def __init__(self, dims: VampNetDims, *, rank: int, owns_bias: bool) -> None:
        super().__init__()
        width = dims.embedding_dim
        self.n_heads = dims.n_heads
        self.w_qs = LoRALinear(width, width, rank=rank)
        self.w_ks = LoRALinear(width, width, rank=0)
        self.w_vs = LoRALinear(width, width, rank=rank)
        self.fc = LoRALinear(width, width, rank=rank)
        if owns_bias:
            self.relative_attention_bias = RelativePositionBias(dims.n_heads)

    def forward(self, x: Tensor, position_bias: Tensor) -> Tensor:
        """Attend over x (float [B, T, D]) with a position bias (float [heads, T, T])."""
        q, k, v = (self._heads(w(x)) for w in (self.w_qs, self.w_ks, self.w_vs))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + position_bias
        mixed = torch.softmax(scores, dim=-1) @ v
        out: Tensor = self.fc(mixed.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x: Tensor) -> Tensor:
        return torch.unflatten(x, -1, (self.n_heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """GEGLU feed-forward: first half times gelu_tanh of the second half.

    Source: Shazeer, "GLU Variants Improve Transformer" (2020).
    """

    def __init__(self, width: int, *, rank: int) -> None:
        super().__init__()
        self.width = 2 * width
        self.w_1 = LoRALinear(width, 2 * self.width, rank=rank)
        self.w_2 = LoRALinear(self.width, width, rank=rank)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, T, D]) to the same shape."""
        hidden = self.w_1(x)
        value, gate = hidden[..., : self.width], hidden[..., self.width :]
        out: Tensor = self.w_2(value * F.gelu(gate, approximate="tanh"))
        return out


class TransformerLayer(nn.Module):
    """Pre-norm layer: x += attention(norm_1(x)), then x += feed_forward(norm_3(x))."""

    def __init__(self, dims: VampNetDims, *, rank: int, owns_bias: bool) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(dims.embedding_dim)
        self.self_attn = Attention(dims, rank=rank, owns_bias=owns_bias)
        self.norm_3 = RMSNorm(dims.embedding_dim)
        self.feed_forward = FeedForward(dims.embedding_dim, rank=rank)

    def forward(self, x: Tensor, position_bias: Tensor) -> Tensor:
        """Map x (float [B, T, D]) to the same shape."""
        x = x + self.self_attn(self.norm_1(x), position_bias)
        out: Tensor = x + self.feed_forward(self.norm_3(x))
        return out


class TransformerStack(nn.Module):
    """All layers, every one with layer 0's position bias, and the final norm."""

    def __init__(self, dims: VampNetDims, *, rank: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TransformerLayer(dims, rank=rank, owns_bias=i == 0) for i in range(dims.n_layers)
        )
        self.norm = RMSNorm(dims.embedding_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, T, D]) to the same shape."""
        first = cast(TransformerLayer, self.layers[0])
        position_bias = first.self_attn.relative_attention_bias(x.shape[1])
        for layer in self.layers:
            x = layer(x, position_bias)
        out: Tensor = self.norm(x)
        return out


class CodebookEmbedding(nn.Module):
    """Codes to latents by the codec's tables, and latents to the transformer's width."""

    def __init__(self, dims: VampNetDims) -> None:
        super().__init__()
        self.special = nn.ParameterDict(
            {"MASK": nn.Parameter(torch.zeros(dims.n_codebooks, dims.latent_dim))}
        )
        self.out_proj = nn.Conv1d(
            dims.n_codebooks * dims.latent_dim, dims.embedding_dim, kernel_size=1
        )

    def tables(self, quantizer: ResidualVectorQuantize) -> list[Tensor]:
        """Return each codebook's table with the mask row last, float [entries + 1, width]."""
        mask = self.special["MASK"]
        return [
            torch.cat([quantizer.book(i).codebook.weight, mask[i : i + 1]])
            for i in range(mask.shape[0])
        ]

    def from_codes(self, codes: Tensor, quantizer: ResidualVectorQuantize) -> Tensor:
        """Look up codes (int64 [B, C, T], mask token allowed): latents [B, C * width, T]."""
        tables = self.tables(quantizer)
        if codes.shape[1] != len(tables):
            raise ValueError(f"codes have {codes.shape[1]} codebooks, not {len(tables)}")
        rows = [F.embedding(codes[:, i], table) for i, table in enumerate(tables)]
        return torch.cat(rows, dim=-1).transpose(1, 2)

    def forward(self, latents: Tensor) -> Tensor:
        """Project latents (float [B, C * width, T]) to [B, D, T]."""
        out: Tensor = self.out_proj(latents)
        return out


class Classifier(nn.Module):
    """Pointwise convolution to all entries of all predicted codebooks."""

    def __init__(self, dims: VampNetDims) -> None:
        super().__init__()
        self.n_predict_codebooks = dims.n_predict_codebooks
        channels = dims.vocab_size * dims.n_predict_codebooks
        self.layers = nn.ModuleList([WNConv1d(dims.embedding_dim, channels, 1)])

    def forward(self, x: Tensor) -> Tensor:
        """Map x (float [B, D, T]) to logits (float [B, V, T * P]).

        The channel of entry p and codebook c is p * P + c; the last axis of the result is
        time-major, codebook-minor.
        """
        channels: Tensor = self.layers[0](x)
        entries = torch.unflatten(channels.transpose(1, 2), -1, (-1, self.n_predict_codebooks))
        return entries.transpose(1, 2).flatten(2)


class VampNet(nn.Module):
    """One transformer of the pair: coarse, or coarse-to-fine.

    Args:
        rank: of its LoRA tensors; 0 where it has none.
    """

    def __init__(self, dims: VampNetDims, *, rank: int) -> None:
        super().__init__()
        self.dims = dims
        self.embedding = CodebookEmbedding(dims)
        self.transformer = TransformerStack(dims, rank=rank)
        self.classifier = Classifier(dims)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (float [B, C * latent_dim, T]) to logits.

        They are float [B, V, T * P], time-major and codebook-minor.
        """
        x = self.embedding(latents).transpose(1, 2)
        logits: Tensor = self.classifier(self.transformer(x).transpose(1, 2))
        return logits

    def forward_codes(self, codes: Tensor, quantizer: ResidualVectorQuantize) -> Tensor:
        """Predict logits from codes (int64 [B, C, T], mask token allowed)."""
        logits: Tensor = self(self.embedding.from_codes(codes, quantizer))
        return logits
