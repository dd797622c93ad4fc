"""Defects that tolerant outputs can hide; planted in files that were exported soundly."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from .base import FileDefect, nodes_of, replace_weight

_ATTENTION = "transformer.layers.1.self_attn"
_NORMS = tuple(
    f"transformer.{name}"
    for name in ("layers.0.norm_1", "layers.0.norm_3", "layers.1.norm_1", "layers.1.norm_3")
)


class RowOfTheWrongSign(FileDefect, of="coarse", at="embedding"):
    """One row of a table has the wrong sign."""

    def plant(self, model: ir.Model) -> None:
        def negate(table: np.ndarray) -> np.ndarray:
            table[7] *= -1
            return table

        replace_weight(model, "embedding.tables.1", negate)


class RowOfNaN(FileDefect, of="c2f", at="embedding"):
    """One row of a table is NaN, which few inputs look up."""

    def plant(self, model: ir.Model) -> None:
        def poison(table: np.ndarray) -> np.ndarray:
            table[7] = np.nan
            return table

        replace_weight(model, "embedding.tables.1", poison)


class RowTooLoud(FileDefect, of="codec_decoder", at="quantizer"):
    """One row of a table is thirty times too large: a click wherever its code comes up."""

    def plant(self, model: ir.Model) -> None:
        def louder(tables: np.ndarray) -> np.ndarray:
            tables[1, 5] *= np.float32(30)
            return tables

        replace_weight(model, "quantizer.tables", louder)


class RowOfHalfPrecision(FileDefect, of="codec_decoder", at="quantizer"):
    """One row of a table has been through float16."""

    def plant(self, model: ir.Model) -> None:
        def rounded(tables: np.ndarray) -> np.ndarray:
            tables[1, 5] = tables[1, 5].astype(np.float16)
            return tables

        replace_weight(model, "quantizer.tables", rounded)


class ColumnOnePercentOff(FileDefect, of="c2f", at="transformer.layers.1.feed_forward.w_2"):
    """One column of a projection is 1 % too large."""

    def plant(self, model: ir.Model) -> None:
        def scaled(weight: np.ndarray) -> np.ndarray:
            weight[:, 3] *= np.float32(1.01)
            return weight

        replace_weight(model, f"{self.culprit}.weight", scaled)


class DecoderBiasOnePercentOff(FileDefect, of="codec_decoder", at="decoder.model.0"):
    """The bias of one convolution is 1 % too large."""

    def plant(self, model: ir.Model) -> None:
        replace_weight(model, f"{self.culprit}.bias", lambda bias: bias * np.float32(1.01))


class ValuesOverflow(
    FileDefect, of="coarse.fp16", at=f"{_ATTENTION}.w_vs", also=(f"{_ATTENTION}.fc",)
):
    """Values are beyond half precision, and the product behind them divides by as much."""

    def plant(self, model: ir.Model) -> None:
        # In float32, and where half precision is computed in it, the output hardly moves.
        for name, factor in (("w_vs", 2.0**15), ("fc", 2.0**-15)):
            replace_weight(
                model,
                f"{_ATTENTION}.{name}.weight",
                partial(_scaled, factor=np.float32(factor)),
            )


class OneEpsilonTenfold(FileDefect, of="c2f", at="transformer.layers.1.norm_3"):
    """One of several epsilons is ten times too large."""

    def plant(self, model: ir.Model) -> None:
        _scale_epsilon(model, self.culprit, 10)


class AllEpsilonsTooSmall(FileDefect, of="coarse", at=_NORMS[0], also=_NORMS[1:]):
    """Every epsilon is a hundred times too small."""

    def plant(self, model: ir.Model) -> None:
        paths = {str(node.metadata_props["vampnet_onnx.module"]) for node in model.graph}
        for path in sorted(path for path in paths if "norm" in path.rpartition(".")[2]):
            _scale_epsilon(model, path, 0.01)


def _scaled(weight: np.ndarray, factor: np.float32) -> np.ndarray:
    return (weight.astype(np.float32) * factor).astype(weight.dtype)


def _scale_epsilon(model: ir.Model, path: str, factor: float) -> None:
    """Give a norm an epsilon of its own."""
    node, place = next(_epsilons(model, path))
    value = node.inputs[place]
    assert value is not None and value.const_value is not None
    scaled = (value.const_value.numpy() * factor).astype(np.float32)
    name = f"{path}/epsilon"
    own = ir.Value(name=name, const_value=ir.tensor(scaled, name=name))
    model.graph.register_initializer(own)
    node.replace_input_with(place, own)
    if not value.uses():
        del model.graph.initializers[str(value.name)]


def _epsilons(model: ir.Model, path: str) -> Iterator[tuple[ir.Node, int]]:
    for node in nodes_of(model, path, "Add"):
        for place, value in enumerate(node.inputs):
            if value is not None and value.const_value is not None:
                yield node, place
