"""Forms of a transformer: what they compute, and what is no form."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from tests.support.exports import compute
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import FORMS as NAMES
from vampnet_onnx.export.adapters import OpenForAdapters
from vampnet_onnx.export.onnx_file import graph_bytes, read_graph
from vampnet_onnx.export.passes.base import PassError, apply_passes
from vampnet_onnx.export.variants.forms import (
    FORMS,
    errors_of_products,
    left_in_float32,
    make_form,
)
from vampnet_onnx.export.variants.rewriting import products, weight_of
from vampnet_onnx.verify.numbers.metrics import relative_l2

# Of logits, relative, on random weights; the last is what tells the form from another.
ERRORS = {"int8": (1e-3, 0.05), "w8": (1e-4, 0.04), "w4": (1e-2, 0.4), "fp16": (1e-5, 5e-3)}


@pytest.fixture
def coarse(exported_a: Path) -> ir.Model:
    return read_graph(exported_a / "coarse.onnx")


def codes_for(model: ir.Model, frames: int = 40) -> dict[str, np.ndarray]:
    books, vocab = model.graph.inputs[0].shape[1], model.graph.outputs[0].shape[1]  # type: ignore[index]
    drawn = np.random.default_rng(0).integers(0, int(vocab) + 1, (2, int(books), frames))  # type: ignore[arg-type]
    return {"codes": drawn}


def logits(model: ir.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return compute(graph_bytes(model), **inputs)["logits"]


def weights_of(model: ir.Model) -> list[str]:
    return [weight_of(node)[0] for node in products(model.graph)]


def test_the_table_has_the_forms_that_everybody_knows() -> None:
    assert tuple(FORMS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_form_computes_nearly_what_float32_does(coarse: ir.Model, name: str) -> None:
    inputs = codes_for(coarse)
    expected = logits(coarse, inputs)
    records = make_form(coarse, FORMS[name], frozenset())
    assert [record.name for record in records][-1] == "CanonicalNames"
    if name != "fp16":  # of which a product is one as before
        assert not products(coarse.graph), "every product is one of the form"
    least, most = ERRORS[name]
    assert least < relative_l2(expected, logits(coarse, inputs)) < most


def test_int8_has_standard_operators_alone(coarse: ir.Model) -> None:
    make_form(coarse, FORMS["int8"], frozenset())
    assert {node.domain for node in coarse.graph} == {""}
    assert set(coarse.opset_imports) == {""}


def test_activations_are_never_signed_and_an_input_is_quantised_once(
    coarse: ir.Model, tmp_path: Path
) -> None:
    """Signed ones have no kernel; what is not fused is several times slower."""
    make_form(coarse, FORMS["int8"], frozenset())
    layers = sum(node.op_type == "Softmax" for node in coarse.graph)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(graph_bytes(coarse), options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in ir.load(tmp_path / "optimised.onnx").graph)
    assert not found["MatMulInteger"] and not found["MatMul"] - layers
    # Shared: by q, k and v, by value and gate; and queries and keys by themselves.
    assert found["DynamicQuantizeLinear"] == 4 * layers
    # By themselves: attention's last, the second of the feed-forward network, the classifier.
    assert found["DynamicQuantizeMatMul"] == 2 * layers + 1
    assert found["MatMulIntegerToFloat"] == 6 * layers


def test_what_is_left_in_float32_stays_as_it_is(coarse: ir.Model) -> None:
    left = weights_of(coarse)[0]
    make_form(coarse, FORMS["int8"], frozenset([left]))
    assert weights_of(coarse) == [left]


def test_a_weight_that_there_is_not_cannot_be_left(coarse: ir.Model) -> None:
    with pytest.raises(InputError, match="no product with elsewhere"):
        make_form(coarse, FORMS["int8"], frozenset(["elsewhere"]))


@pytest.mark.parametrize("name", ["w8", "w4"])
def test_a_graph_without_an_operator_of_its_kind_is_no_form(
    coarse: ir.Model, name: str
) -> None:
    everything = frozenset(
        part
        for weight in weights_of(coarse)
        for part in ([f"{weight}.value", f"{weight}.gate"] if "w_1" in weight else [weight])
    )
    with pytest.raises(PassError, match=f"{name}: the graph has no MatMulNBits"):
        make_form(coarse, FORMS[name], everything)


def test_a_form_that_is_not_smaller_is_none(exported_a: Path) -> None:
    narrow = read_graph(exported_a / "c2f.onnx")  # than a block, which is filled with zeros
    with pytest.raises(InputError, match=r"w8: .* a quarter is saved, so leave it out"):
        make_form(narrow, FORMS["w8"], frozenset())


def test_errors_are_measured_product_by_product_and_the_worst_are_left(
    coarse: ir.Model,
) -> None:
    inputs, before = codes_for(coarse), logits(coarse, codes_for(coarse))
    name = next(w for w in weights_of(coarse) if w.endswith("fc.weight"))
    plain = errors_of_products(coarse, FORMS["int8"], inputs)
    assert all(0 < error < 0.05 for error in plain.values())
    np.testing.assert_array_equal(logits(coarse, inputs), before)  # left as it is
    value = coarse.graph.initializers[name]
    assert value.const_value is not None
    weight = value.const_value.numpy().copy()
    weight[0] *= 3000  # one row so large that eight bits say nothing of the others
    value.const_value = ir.tensor(weight, name=name)
    x = products(coarse.graph)
    (makes,) = (n for n in x if weight_of(n)[0].endswith("layers.0.self_attn.w_vs.weight"))
    of_values = makes.inputs[1]
    assert of_values is not None and of_values.const_value is not None
    narrow = of_values.const_value.numpy().copy()
    narrow[:, 0] = 0
    of_values.const_value = ir.tensor(narrow, name=str(of_values.name))
    found = errors_of_products(coarse, FORMS["int8"], inputs)
    assert left_in_float32(found, 0.1) <= {name}
    assert max(found, key=found.__getitem__) == name
    assert left_in_float32({"a": 0.2, "b": float("nan"), "c": 0.1}, 0.1) == {"a", "b"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("power, finite", [(64, True), (127, False)])
def test_errors_of_large_weights_are_those_of_small_ones_or_none(
    coarse: ir.Model, power: int, finite: bool
) -> None:
    """Squares of what float32 holds need not be held; what it does not hold is left."""
    inputs = codes_for(coarse)
    plain = errors_of_products(coarse, FORMS["int8"], inputs)
    name = next(w for w in weights_of(coarse) if w.startswith("classifier"))
    value = coarse.graph.initializers[name]
    assert value.const_value is not None
    large = value.const_value.numpy() * np.float32(2.0**power)
    value.const_value = ir.tensor(large, name=name)
    found = errors_of_products(coarse, FORMS["int8"], inputs)
    assert (found[name] == plain[name]) == finite
    assert (name in left_in_float32(found, 0.1)) != finite


@pytest.mark.parametrize("name", ["int8", "w8", "fp16"])
def test_adapters_go_on_working(coarse: ir.Model, name: str) -> None:
    apply_passes(coarse, [OpenForAdapters()])
    inputs, drawn = codes_for(coarse), np.random.default_rng(1)
    switched = dict(inputs)
    for value in coarse.graph.inputs:
        if value.is_initializer() and value.shape is not None:
            shape = [2 if axis == "rank" else int(axis) for axis in value.shape]  # type: ignore[arg-type]
            switched[str(value.name)] = drawn.normal(0, 0.3, shape).astype(np.float32)
    expected = logits(coarse, switched)
    moved = relative_l2(expected, logits(coarse, inputs))
    make_form(coarse, FORMS[name], frozenset())
    assert relative_l2(expected, logits(coarse, switched)) < moved / 5
