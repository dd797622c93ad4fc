"""A known product, computed before a form of integers is used."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.version import products


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    products.products_are_exact.cache_clear()
    yield
    products.products_are_exact.cache_clear()


def test_the_graph_is_a_product_of_the_largest_weights() -> None:
    model = onnx.load_from_string(products.GRAPH)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["ConstantOfShape", "MatMulInteger"]
    filling = onnx.numpy_helper.to_array(model.graph.node[0].attribute[0].t)
    assert filling.dtype == np.int8 and filling.tolist() == [products.LARGEST[1]]
    # Two such products do not fit in 16 bits.
    assert 2 * products.LARGEST[0] * products.LARGEST[1] > np.iinfo(np.int16).max


def test_a_product_that_comes_out_wrong_refuses_the_form_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "LARGEST", (255, 126))  # is not what the graph computes
    with pytest.raises(InputError, match=r"--variant int8: this processor .* w8"):
        products.require_exact_products("int8")
