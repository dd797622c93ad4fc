"""Codebook tables are folded through the projections that follow them.

Products are formed in float64 and rounded once, so folding costs less accuracy than the
float32 product it replaces.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models.networks.quantize import ResidualVectorQuantize
from vampnet_onnx.models.networks.vampnet import CodebookEmbedding

from .base import REORDERING, PassError, ReplaceEvery, frozen


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


class FoldedEmbedding(nn.Module):
    """Codes to the transformer's width by one table a codebook: [B, C, T] to [B, T, D]."""

    def __init__(self, tables: list[Tensor], bias: Tensor) -> None:
        super().__init__()
        self.tables = nn.ParameterList(frozen(table) for table in tables)
        self.bias = frozen(bias)

    def forward(self, codes: Tensor) -> Tensor:
        """Embed codes (int64 [B, C, T], mask token allowed)."""
        total: Tensor = self.bias
        for i, table in enumerate(self.tables):
            total = total + F.embedding(codes[:, i], table)
        return total


class FoldCodebooksIntoEmbedding(ReplaceEvery[CodesEmbedding]):
    """Fold codebook rows, mask row included, through the embedding projection.

    Rules:
        CodesEmbedding -> FoldedEmbedding.
    """

    tolerance = REORDERING  # the same sum in another order
    kind = CodesEmbedding
    details = "folded {count} tables through the projection"

    def requires(self, module: nn.Module) -> None:
        """The module embeds codes."""
        if not isinstance(module.get_submodule("embedding"), CodesEmbedding):
            raise PassError("FoldCodebooksIntoEmbedding needs a module that embeds codes")

    def replacement(self, module: CodesEmbedding) -> FoldedEmbedding:
        """Multiply each codebook's rows with its part of the projection."""
        projection = module.embedding.out_proj
        if projection.bias is None:
            raise PassError("the embedding projection has no bias")
        rows = module.embedding.tables(module.quantizer)
        # The projection's input channels, a codebook after the other: [width, out] each.
        parts = projection.weight[:, :, 0].t().split([row.shape[1] for row in rows])
        tables = [
            (row.double() @ part.double()).float()
            for row, part in zip(rows, parts, strict=True)
        ]
        return FoldedEmbedding(tables, projection.bias)

    def count(self, module: CodesEmbedding) -> int:
        """Count codebooks."""
        return len(module.embedding.special["MASK"])  # the codec may have more
