"""Half precision: what computes in it, what does not, and what it cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.support.exports import exported
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export.onnx_file import graph_bytes, read_graph
from vampnet_onnx.export.passes.base import PassError
from vampnet_onnx.export.runtime import loads
from vampnet_onnx.export.variants.forms import FORMS, errors_of_products, make_form
from vampnet_onnx.export.variants.half import HalfPrecision, half_product
from vampnet_onnx.export.variants.rewriting import products, weight_of

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
VALUES = "transformer.layers.0.self_attn.w_vs.weight"


@pytest.fixture
def coarse(exported_a: Path) -> ir.Model:
    return read_graph(exported_a / "coarse.onnx")


def taken(model: ir.Model) -> dict[str, set[int]]:
    """Return the float types that operators of each kind take, by what ONNX infers."""
    proto = onnx.shape_inference.infer_shapes(
        onnx.load_from_string(graph_bytes(model)), check_type=True, strict_mode=True
    )
    graph = proto.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input)}
    types |= {v.name: v.data_type for v in graph.initializer}
    found = dict[str, set[int]]()
    for node in graph.node:
        kinds = {types[name] for name in node.input} & {FLOAT, FLOAT16}
        found.setdefault(node.op_type, set()).update(kinds)
    return found


def test_norms_and_softmax_alone_compute_in_float32(forms_a: Path) -> None:
    model = read_graph(forms_a / "coarse.fp16.onnx")
    found = taken(model)
    assert found["MatMul"] == found["Gather"] == {FLOAT16}
    for kind in ("Softmax", "ReduceMean", "Sqrt", "Pow"):
        assert found[kind] == {FLOAT}
    (logits,) = model.graph.outputs
    assert (logits.name, logits.dtype) == ("logits", ir.DataType.FLOAT)
    weights = [v for v in model.graph.initializers.values() if "constant" not in str(v.name)]
    assert {value.dtype for value in weights} == {ir.DataType.FLOAT16}


@pytest.mark.parametrize("opset", [o for o in (18, 23) if loads(o)])
def test_every_opset_has_the_form(opset: int) -> None:
    """GELU in parts before 20, a norm in one from 23 on."""
    model = exported(GOLDEN / "a", "coarse", variant="fp16", opset=opset).model
    assert taken(model)["MatMul"] == {FLOAT16} and taken(model)["Softmax"] == {FLOAT}
    norms = {node.op_type for node in model.graph} & {"RMSNormalization", "ReduceMean"}
    assert norms == {"RMSNormalization" if opset == 23 else "ReduceMean"}


def test_inputs_in_float32_stay_so(exported_a: Path) -> None:
    model = read_graph(exported_a / "coarse.latents.onnx")
    make_form(model, FORMS["fp16"], frozenset())
    assert model.graph.inputs[0].dtype == ir.DataType.FLOAT
    assert taken(model)["MatMul"] == {FLOAT16}


def test_a_product_that_is_left_computes_in_float32_and_gives_half_precision(
    coarse: ir.Model, forms_a: Path
) -> None:
    halved = read_graph(forms_a / "coarse.fp16.onnx")
    make_form(coarse, FORMS["fp16"], frozenset([VALUES]))
    assert coarse.graph.initializers[VALUES].dtype == ir.DataType.FLOAT
    assert taken(coarse)["MatMul"] == {FLOAT, FLOAT16}
    (product,) = (n for n in products(coarse.graph) if weight_of(n)[0] == VALUES)
    after = [use.node for use in product.outputs[0].uses()]
    assert [node.op_type for node in after] == ["Cast"]
    # The residual stream keeps its precision.
    assert taken(coarse)["Add"] == {FLOAT, FLOAT16} == taken(halved)["Add"]


@pytest.mark.parametrize("factor", [1e7, 1e-9])
def test_weights_beyond_half_precision_are_measured_or_refused_by_name(
    coarse: ir.Model, factor: float
) -> None:
    for name in (VALUES, "embedding.bias"):
        value = coarse.graph.initializers[name]
        assert value.const_value is not None
        scaled = value.const_value.numpy() * np.float32(factor)
        value.const_value = ir.tensor(scaled, name=name)
    codes = np.ones((1, coarse.graph.inputs[0].shape[1], 9), np.int64)  # type: ignore[index]
    errors = errors_of_products(coarse, FORMS["fp16"], {"codes": codes})
    assert not errors[VALUES] < 0.5
    assert max(error for name, error in errors.items() if "norm" in name or "w_qs" in name) < 1
    make_form(coarse, FORMS["fp16"], frozenset([VALUES]))
    with pytest.raises(InputError, match=r"fp16: embedding.bias has values from .* 65504"):
        graph_bytes(coarse)


def test_an_operator_of_unknown_precision_is_refused(coarse: ir.Model) -> None:
    node = next(node for node in coarse.graph if node.op_type == "Gelu")
    node.op_type = "Erf"
    with pytest.raises(PassError, match="takes floats and is a Erf"):
        HalfPrecision(frozenset()).requires(coarse)


def test_products_are_rounded_where_runtimes_round_them() -> None:
    x, weight = np.float32([[2049, 1]]), np.float32([[1], [1]])
    assert half_product(x, weight).item() == 2048  # 2049 is none of half precision's
    assert np.isinf(half_product(x, weight * 100)).all()
