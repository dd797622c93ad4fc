"""What every form is made with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vampnet_onnx.export.onnx_file import read_graph
from vampnet_onnx.export.variants.rewriting import Rewriter, lazy, weight_names


def test_equal_constants_are_one_and_no_weights(exported_a: Path) -> None:
    graph = read_graph(exported_a / "coarse.onnx").graph
    before = weight_names(graph)
    assert "classifier.layers.0.weight" in before
    add = Rewriter(graph, next(iter(graph)), "here")
    assert add.constant(0, np.int8) is add.constant(0, np.int8)
    assert add.constant(0, np.int8) is not add.constant(0, np.float32)
    assert weight_names(graph) == before


def test_a_lazy_tensor_is_computed_when_it_is_asked_for() -> None:
    asked = []

    def compute() -> np.ndarray:
        asked.append(1)
        return np.ones((2, 3), np.float32)[:, :2]

    tensor = lazy("w", np.float32, (2, 2), compute)
    assert not asked and tensor.nbytes == 16
    np.testing.assert_array_equal(tensor.numpy(), np.ones((2, 2)))
