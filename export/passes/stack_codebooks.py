"""Codebooks are stacked, so that codes of any number of them can be looked up at once."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models.networks.lac import LAC

from .base import PassError, ReplaceEvery, frozen


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


class StackedCodebooks(nn.Module):
    """Sum of projected entries of the first n codebooks, n taken from the input's shape.

    Attributes:
        tables: float [codebooks, entries + 1, width]; the last row is entry 0 again, which
            is what the published ``Interface.decode`` reads a mask token as.  Narrow
            codebooks are padded with zeros to the widest.
        projection: float [codebooks, width, latent_dim].
        bias: float [codebooks, latent_dim].
    """

    def __init__(self, tables: Tensor, projection: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.tables = frozen(tables)
        self.projection = frozen(projection)
        self.bias = frozen(bias)

    def forward(self, codes: Tensor) -> Tensor:
        """Map codes (int64 [B, n, T]) to latents (float [B, latent_dim, T])."""
        n = codes.shape[1]
        book = torch.arange(n, device=codes.device)[None, None, :]
        # Indexing by (codebook, entry) lets the runtime refuse an entry out of range; a flat
        # index would silently read the next codebook.
        rows = self.tables[book, codes.transpose(1, 2)]
        z = rows.flatten(2) @ self.projection[:n].flatten(0, 1)
        return (z + self.bias[:n].sum(0)).transpose(1, 2)


class StackCodebooks(ReplaceEvery[CodesToLatents]):
    """Stack codebooks so that the number given may be any from 1 to all.

    Rules:
        CodesToLatents -> StackedCodebooks.
    """

    # One sum over all codebooks instead of one a codebook: 1e-7 of the latents, which the
    # decoder's depth turns into some 1e-6 of the audio.
    tolerance = 1e-4
    kind = CodesToLatents
    details = "stacked {count} codebooks with their projections"

    def requires(self, module: nn.Module) -> None:
        """Weight norm is folded and the module looks up codes."""
        if not isinstance(module.get_submodule("quantizer"), CodesToLatents):
            raise PassError("StackCodebooks needs a module that looks up codes")
        if any(name.endswith("weight_g") for name, _ in module.named_parameters()):
            raise PassError("StackCodebooks must run after FoldWeightNorm")

    def replacement(self, module: CodesToLatents) -> StackedCodebooks:
        """Stack tables and projections, narrow ones padded."""
        quantizer = module.quantizer
        widest = max(quantizer.codebook_dims)
        tables, projections, biases = [], [], []
        for i in range(len(quantizer.quantizers)):
            book = quantizer.book(i)
            rows, conv = book.codebook.weight, book.get_submodule("out_proj")
            if not isinstance(conv, nn.Conv1d) or conv.bias is None:
                raise PassError("an output projection is not a folded convolution")
            pad = widest - rows.shape[1]
            tables.append(F.pad(torch.cat([rows, rows[:1]]), (0, pad)))
            projections.append(F.pad(conv.weight[:, :, 0].t(), (0, 0, 0, pad)))
            biases.append(conv.bias)
        return StackedCodebooks(*map(torch.stack, (tables, projections, biases)))

    def count(self, module: CodesToLatents) -> int:
        """Count codebooks."""
        return len(module.quantizer.quantizers)
