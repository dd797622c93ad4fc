"""Products with 8-bit and 4-bit weights.

`QuantiseProducts` rounds activations, too, when it runs: 8 bits, one scale a tensor, without a
sign, since ONNX Runtime has no kernel for signed ones.  `RoundWeights` rounds weights alone.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.passes.base import GraphPass, PassResult

from .rewriting import Rewriter, add_weight, lazy, products, take_place, weight_of

Floats = NDArray[np.float32]

MICROSOFT = "com.microsoft"  # operators of ONNX Runtime alone
_LARGEST = 127
_LEVEL = 4  # of accuracy: activations are rounded to 8 bits, the fastest that there is


class QuantiseProducts(GraphPass):
    """Make products of integers of those with a weight.

    ONNX Runtime makes one operator of the four, and quantises an input once however many
    products take it.

    Rules:
        MatMul(x, W) -> Mul(Cast(MatMulInteger(x8, W8)), scale of x * scales of W), x8 of
        DynamicQuantizeLinear, W8 with a scale a column.
    """

    def __init__(self, left: frozenset[str]) -> None:
        """Remember the weights that stay as they are, by name."""
        self.left = left

    def call(self, model: ir.Model) -> PassResult:
        """Replace the products."""
        found = _chosen(model, self.left)
        for node in found:
            _quantise(model.graph, node)
        return PassResult(len(found), _details("8-bit", len(found), self.left))

    def ensures(self, model: ir.Model) -> None:
        """No product is left that should not be."""
        self.refuse_left([node.name for node in _chosen(model, self.left)])


class RoundWeights(GraphPass):
    """Round the weights of products in blocks along their input, each with a scale.

    Rules:
        MatMul(x, W) -> MatMulNBits(x, W rounded, scales).
    """

    def __init__(self, left: frozenset[str], *, bits: int, blocks: Sequence[int]) -> None:
        """Remember how weights are rounded, and those that stay as they are, by name.

        Args:
            blocks: sizes, see `block_of`.
        """
        self.left, self.bits, self.blocks = left, bits, blocks

    def call(self, model: ir.Model) -> PassResult:
        """Replace the products."""
        found = _chosen(model, self.left)
        for node in found:
            self._round(model.graph, node)
        model.graph.opset_imports[MICROSOFT] = 1
        sizes = " or ".join(map(str, self.blocks))
        kind = f"{self.bits}-bit weights in blocks of {sizes},"
        return PassResult(len(found), _details(kind, len(found), self.left))

    def ensures(self, model: ir.Model) -> None:
        """No product is left that should not be."""
        self.refuse_left([node.name for node in _chosen(model, self.left)])

    def _round(self, graph: ir.Graph, node: ir.Node) -> None:
        name, weight, (width, out) = weight_of(node)
        block = block_of(width, self.blocks)
        blocks = -(-width // block)

        def rounded() -> np.ndarray:
            return block_weights(weight(), bits=self.bits, block=block)[0]

        def scales() -> np.ndarray:
            return block_weights(weight(), bits=self.bits, block=block)[1]

        add = Rewriter(graph, node, node.metadata_props[MODULE_KEY])
        x = node.inputs[0]
        assert x is not None
        packed = (out, blocks, block * self.bits // 8)
        made = add.one(
            "MatMulNBits",
            x,
            add_weight(graph, lazy(f"{name}_rounded", np.uint8, packed, rounded)),
            add_weight(graph, lazy(f"{name}_scales", np.float32, (out * blocks,), scales)),
            domain=MICROSOFT,
            K=width,
            N=out,
            bits=self.bits,
            block_size=block,
            accuracy_level=_LEVEL,
        )
        _replace(graph, node, made)


def column_weights(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Round a weight (float32 [in, out]) to 8 bits, one scale a column.

    Returns:
        int8 [in, out] and float32 [out]; a column of zeros has the scale 1.
    """
    largest = np.abs(weight).max(axis=0)
    scale = np.where(largest > 0, largest / np.float32(_LARGEST), 1).astype(np.float32)
    rounded = np.clip(np.rint(weight / scale), -_LARGEST, _LARGEST)
    return rounded.astype(np.int8), scale


def block_of(width: int, blocks: Sequence[int]) -> int:
    """Return the first size that fills a width, or the last: the rest of a block is zeros."""
    return next((size for size in blocks if width % size == 0), blocks[-1])


def block_weights(
    weight: Floats, *, bits: int, block: int
) -> tuple[NDArray[np.uint8], Floats]:
    """Round a weight (float32 [in, out]) in blocks along its input.

    The value of a block that is farthest from 0 is met exactly, by the lowest number.

    Returns:
        uint8 [out, blocks, bytes of a block], low bits first, and float32 [out * blocks].
    """
    width, out = weight.shape
    middle, blocks = 1 << (bits - 1), -(-width // block)
    padded = np.zeros((blocks * block, out), np.float32)
    padded[:width] = weight
    parts = padded.T.reshape(out, blocks, block)
    where = np.abs(parts).argmax(axis=-1, keepdims=True)
    farthest = np.take_along_axis(parts, where, axis=-1)
    scale = np.where(farthest != 0, farthest / np.float32(-middle), 1).astype(np.float32)
    rounded = np.clip(np.rint(parts / scale) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        rounded = rounded[..., ::2] | rounded[..., 1::2] << 4
    return rounded, scale.reshape(-1)


def quantised_product(x: Floats, weight: Floats) -> Floats:
    """Return what a quantised product computes, float32 [rows, out].

    Args:
        x: float32 [rows, in].
        weight: float32 [in, out].
    """
    low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    scale = np.float32((high - low) / 255) or np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    rounded = np.clip(np.rint(x / scale) + zero, 0, 255) - zero
    columns, scales = column_weights(weight)
    product: Floats = (rounded.astype(np.float32) @ columns.astype(np.float32)) * (
        scale * scales
    )
    return product


def rounded_product(bits: int, blocks: Sequence[int]) -> Callable[[Floats, Floats], Floats]:
    """Return what computes a product with rounded weights, as `quantised_product` does."""

    def product(x: Floats, weight: Floats) -> Floats:
        block = block_of(len(weight), blocks)
        rounded, scale = block_weights(weight, bits=bits, block=block)
        if bits == 4:
            rounded = np.stack([rounded & 15, rounded >> 4], axis=-1).reshape(
                *rounded.shape[:-1], -1
            )
        scales = scale.reshape(*rounded.shape[:2], 1)
        values = (rounded.astype(np.float32) - (1 << (bits - 1))) * scales
        flat = values.reshape(weight.shape[1], -1)[:, : weight.shape[0]]
        result: Floats = x @ flat.T
        return result

    return product


def _chosen(model: ir.Model, left: frozenset[str]) -> list[ir.Node]:
    return [node for node in products(model.graph) if weight_of(node)[0] not in left]


def _details(kind: str, count: int, left: frozenset[str]) -> str:
    kept = f", {len(left)} left in float32: {', '.join(sorted(left))}" if left else ""
    return f"{kind} products {count}{kept}"


def _quantise(graph: ir.Graph, node: ir.Node) -> None:
    name, weight, shape = weight_of(node)
    add = Rewriter(graph, node, node.metadata_props[MODULE_KEY])
    x, scale, zero = add.node("DynamicQuantizeLinear", node.inputs[0], outputs=3)
    rounded = lazy(f"{name}_rounded", np.int8, shape, lambda: column_weights(weight())[0])
    scales = lazy(f"{name}_scales", np.float32, shape[1:], lambda: column_weights(weight())[1])
    summed = add.one(
        "MatMulInteger", x, add_weight(graph, rounded), zero, add.constant(0, np.int8)
    )
    both = add.one("Mul", scale, add_weight(graph, scales))
    made = add.one("Mul", add.one("Cast", summed, to=ir.DataType.FLOAT.value), both)
    _replace(graph, node, made)


def _replace(graph: ir.Graph, node: ir.Node, made: ir.Value) -> None:
    held = node.inputs[1]
    take_place(graph, node.outputs[0], made)
    graph.remove(node, safe=True)
    if held is not None and not held.uses():
        del graph.initializers[str(held.name)]
