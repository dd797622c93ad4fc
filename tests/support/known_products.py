"""The graphs of known products, as `pipeline.version.products` has them in bytes.

Inputs of ones; every weight is the largest that there is, so that two products of one row do
not fit in 16 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from vampnet_onnx.pipeline.version.products import COLUMNS, WIDTH

FLOAT = onnx.TensorProto.FLOAT


def int8_products() -> onnx.ModelProto:
    """Return the products of the form int8: by itself, two of one input, scores."""
    half = (WIDTH, COLUMNS // 2)
    graph = _Graph()
    graph.constant("high", np.int8(127), half)
    graph.constant("low", np.int8(-127), half)
    graph.constant("scales", np.float32(1), (COLUMNS,))
    graph.constant("twice", np.float32(2), (COLUMNS,))
    graph.constant("zero", np.int8(0), ())
    for name, parts in (("weights", ["high", "low"]), ("turned", ["low", "high"])):
        graph.node("Concat", parts, [name], axis=1)
    for x in "xyz":
        graph.node("DynamicQuantizeLinear", [x], [f"{x}8", f"{x}_scale", f"{x}_zero"])
    graph.product("x", "weights", "alone", "scales", "zero")
    graph.product("y", "weights", "first", "scales", "zero")
    graph.product("y", "turned", "second", "twice", "zero")
    graph.node("Transpose", ["z8"], ["keys"], perm=[1, 0])
    graph.product("z", "keys", "scores", "z_scale", "z_zero")
    columns = dict.fromkeys(("alone", "first", "second"), COLUMNS)
    return graph.model("xyz", {**columns, "scores": "n"})


def w8_products() -> onnx.ModelProto:
    """Return products with 8-bit weights in blocks of either size."""
    graph = _Graph()
    for block in (WIDTH, WIDTH // 2):
        blocks = WIDTH // block
        graph.constant(f"weights_{block}", np.uint8(255), (COLUMNS, blocks, block))
        graph.constant(f"scales_{block}", np.float32(1), (COLUMNS * blocks,))
        graph.node(
            "MatMulNBits",
            ["x", f"weights_{block}", f"scales_{block}"],
            [f"blocks_of_{block}"],
            domain="com.microsoft",
            K=WIDTH,
            N=COLUMNS,
            bits=8,
            block_size=block,
            accuracy_level=4,
        )
    outputs: dict[str, int | str] = {"blocks_of_256": COLUMNS, "blocks_of_128": COLUMNS}
    return graph.model("x", outputs, "com.microsoft")


class _Graph:
    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(
        self, kind: str, taken: Sequence[str], made: Sequence[str], **attributes: object
    ) -> None:
        self._nodes.append(helper.make_node(kind, taken, made, **attributes))

    def constant(self, name: str, value: np.generic, shape: Sequence[int]) -> None:
        filled = onnx.numpy_helper.from_array(np.array([value]))
        held = helper.make_tensor(
            f"{name}_shape", onnx.TensorProto.INT64, [len(shape)], list(shape)
        )
        self._weights.append(held)
        self.node("ConstantOfShape", [held.name], [name], value=filled)

    def product(self, x: str, weights: str, made: str, scales: str, zero: str) -> None:
        self.node("MatMulInteger", [f"{x}8", weights, f"{x}_zero", zero], [f"{made}_integers"])
        self.node("Cast", [f"{made}_integers"], [f"{made}_floats"], to=FLOAT)
        self.node("Mul", [f"{x}_scale", scales], [f"{made}_scale"])
        self.node("Mul", [f"{made}_floats", f"{made}_scale"], [made])

    def model(
        self, inputs: str, outputs: dict[str, int | str], domain: str = ""
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes,
            "known",
            [helper.make_tensor_value_info(x, FLOAT, ["n", WIDTH]) for x in inputs],
            [helper.make_tensor_value_info(y, FLOAT, ["n", n]) for y, n in outputs.items()],
            self._weights,
        )
        opsets = [helper.make_opsetid("", 18)]
        opsets += [helper.make_opsetid(domain, 1)] if domain else []
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)
