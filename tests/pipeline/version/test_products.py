"""Known products, computed before a form of integers is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from tests.support.known_products import int8_products, w8_products
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version import products

GRAPHS = {"int8": int8_products, "w8": w8_products}


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    products.products_are_exact.cache_clear()
    yield
    products.products_are_exact.cache_clear()


def operators(model: bytes | str, folder: Path) -> Counter[str]:
    """Return what ONNX Runtime makes of a model."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in ir.load(folder / "optimised.onnx").graph)


@pytest.mark.parametrize("form", list(products.KNOWN))
def test_the_graphs_are_what_the_tests_write(form: str) -> None:
    made, known = GRAPHS[form](), products.KNOWN[form]
    assert onnx.load_from_string(known.graph) == made
    assert [output.name for output in made.graph.output] == list(known.expected)


def test_two_of_the_largest_products_do_not_fit_in_16_bits() -> None:
    assert np.iinfo(np.int16).max < 2 * 255 * 127
    assert products.products_are_exact("int8") and products.products_are_exact("w8")


def test_every_operator_of_integers_that_the_form_runs_is_among_them(
    forms_a: Path, tmp_path: Path
) -> None:
    """And none that it does not run, such as one that was not merged."""
    used = operators(str(forms_a / "coarse.int8.onnx"), tmp_path)
    tried = operators(products.KNOWN["int8"].graph, tmp_path)
    integers = {name for name in used | tried if "Integer" in name or "Quantize" in name}
    assert {name for name in integers if used[name]} == integers
    assert {name for name in integers if tried[name]} == integers
    assert integers >= {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}


@pytest.mark.parametrize(
    ("form", "name"),
    [(form, name) for form in GRAPHS for name in products.KNOWN[form].expected],
)
def test_any_product_that_comes_out_wrong_refuses_the_form_by_name(
    monkeypatch: pytest.MonkeyPatch, form: str, name: str
) -> None:
    known = products.KNOWN[form]
    cut = {**known.expected, name: np.sign(known.expected[name]) * 2.0**15}
    monkeypatch.setitem(products.KNOWN, form, products._Known(known.graph, cut))
    with pytest.raises(InputError, match=rf"--variant {form}: this processor .* fp16"):
        products.require_exact_products(form)


def test_a_form_is_refused_where_it_is_opened_and_float32_is_not(
    monkeypatch: pytest.MonkeyPatch, forms_a: Path
) -> None:
    monkeypatch.setattr(products, "products_are_exact", lambda _form: False)
    with pytest.raises(InputError, match="--variant int8: this processor"):
        VampPipeline.open(forms_a, variant="int8")
    VampPipeline.open(forms_a, variant="fp16")
    VampPipeline.open(forms_a)
