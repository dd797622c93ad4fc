"""Weights rounded to 8 and 4 bits, against what ONNX Runtime computes with them."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.exports import compute
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.onnx_file import graph_bytes
from vampnet_onnx.export.passes.base import GraphPass
from vampnet_onnx.export.variants.quantise import (
    QuantiseProducts,
    RoundWeights,
    block_of,
    block_weights,
    column_weights,
    quantised_product,
    rounded_product,
)
from vampnet_onnx.export.variants.rewriting import add_weight
from vampnet_onnx.verify.numbers.metrics import relative_l2

WIDTH, OUT = 96, 24


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def product(weight: np.ndarray) -> ir.Model:
    x = ir.Value(
        name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None, WIDTH])
    )
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 20}, name="main")
    held = add_weight(graph, ir.tensor(weight, name="layer.weight"))
    node = ir.node("MatMul", [x, held], metadata_props={MODULE_KEY: "layer"}, name="layer/m")
    node.outputs[0].name = "y"
    graph.append(node)
    y = node.outputs[0]
    y.type, y.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([None, OUT])
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=9)


def computed(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return compute(graph_bytes(model), x=x)["y"]


def applied(item: GraphPass, weight: np.ndarray) -> ir.Model:
    model = product(weight)
    item.requires(model)
    assert item.call(model).changed == 1
    item.ensures(model)
    return model


def test_columns_have_scales_of_their_own_and_no_value_is_off_by_more_than_half_a_step() -> (
    None
):
    weight = drawn(WIDTH, OUT) * np.geomspace(1e-6, 1e6, OUT, dtype=np.float32)
    weight[:, 3] = 0
    rounded, scale = column_weights(weight)
    assert rounded.dtype == np.int8 and rounded.min() >= -127
    np.testing.assert_array_equal(np.abs(rounded).max(axis=0), np.where(scale == 1, 0, 127))
    assert (np.abs(rounded * scale - weight) <= 0.5001 * scale).all()


@pytest.mark.parametrize("bits, width", [(8, 96), (8, 80), (4, 96), (4, 80)])
def test_blocks_meet_their_farthest_value(bits: int, width: int) -> None:
    weight = drawn(width, OUT)
    packed, scale = block_weights(weight, bits=bits, block=32)
    assert packed.shape == (OUT, 3, 32 * bits // 8)
    eye = np.eye(width, dtype=np.float32)
    found = rounded_product(bits, (32,))(eye, weight)
    steps = np.abs(scale).reshape(OUT, 3).repeat(32, axis=1)[:, :width].T
    assert (np.abs(found - weight) <= 1.0001 * steps).all()
    row, column = np.unravel_index(np.abs(weight).argmax(), weight.shape)
    assert found[row, column] == pytest.approx(weight[row, column], rel=1e-6)


def test_products_of_integers_are_what_is_measured_of_them() -> None:
    weight, x = drawn(WIDTH, OUT), drawn(5, WIDTH)
    found = computed(applied(QuantiseProducts(frozenset()), weight), x)
    assert relative_l2(quantised_product(x, weight), found) < 1e-6
    assert 1e-3 < relative_l2(x @ weight, found) < 2e-2


@pytest.mark.parametrize("bits, least, most", [(8, 1e-3, 2e-2), (4, 3e-2, 0.15)])
def test_rounded_weights_are_what_is_measured_of_them(
    bits: int, least: float, most: float
) -> None:
    weight, x = drawn(WIDTH, OUT), drawn(5, WIDTH)
    found = computed(applied(RoundWeights(frozenset(), bits=bits, blocks=(64, 32)), weight), x)
    # ONNX Runtime rounds activations, too, to 8 bits.
    assert relative_l2(rounded_product(bits, (32,))(x, weight), found) < 1e-2
    assert least < relative_l2(x @ weight, found) < most


def test_blocks_are_as_large_as_fill_a_width() -> None:
    assert [block_of(width, (256, 128)) for width in (1280, 2560, 384, 160)] == [
        256,
        256,
        128,
        128,
    ]
