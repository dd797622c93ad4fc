"""What surrounds the products, rearranged: the numbers stay."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.exports import compute
from vampnet_onnx.export.onnx_file import graph_bytes, read_graph
from vampnet_onnx.export.passes.base import GraphPass, PassError, apply_passes
from vampnet_onnx.export.variants.attention import DivideInNorms, QuantiseScores, SplitGates
from vampnet_onnx.verify.numbers.metrics import relative_l2

CODES = np.random.default_rng(0).integers(0, 20, (2, 3, 140))


@pytest.fixture
def coarse(exported_a: Path) -> ir.Model:
    return read_graph(exported_a / "coarse.onnx")


def logits(model: ir.Model) -> np.ndarray:
    books = model.graph.inputs[0].shape[1]  # type: ignore[index]
    codes = np.resize(CODES, (2, int(books), 140))  # type: ignore[arg-type]
    return compute(graph_bytes(model), codes=codes)["logits"]


@pytest.mark.parametrize(
    "item, error", [(DivideInNorms(), 1e-6), (SplitGates(), 1e-6), (QuantiseScores(), 2e-2)]
)
def test_a_pass_keeps_the_numbers_and_finds_nothing_to_do_again(
    coarse: ir.Model, item: GraphPass, error: float
) -> None:
    before = logits(coarse)
    (record,) = apply_passes(coarse, [item])
    assert record.changed > 0
    assert relative_l2(before, logits(coarse)) < error
    if not isinstance(item, QuantiseScores):
        assert item.call(coarse).changed == 0


def test_fused_norms_have_no_reciprocal_and_gates_no_slice(coarse: ir.Model) -> None:
    apply_passes(coarse, [DivideInNorms(), SplitGates()])
    kinds = Counter(node.op_type for node in coarse.graph)
    assert not kinds["Reciprocal"] and kinds["Div"]
    gates = [node for node in coarse.graph if "feed_forward" in str(node.name)]
    assert gates and all(node.op_type != "Slice" for node in gates)


def test_attention_of_another_kind_is_refused(coarse: ir.Model) -> None:
    apply_passes(coarse, [QuantiseScores()])
    with pytest.raises(PassError, match=r"self_attn is of .*, not as it is exported"):
        QuantiseScores().requires(coarse)


def test_a_reciprocal_that_is_no_norm_is_refused(coarse: ir.Model) -> None:
    node = next(node for node in coarse.graph if node.op_type == "Reciprocal")
    extra = ir.node("Neg", [node.outputs[0]], metadata_props=dict(node.metadata_props))
    coarse.graph.insert_after(node, extra)
    with pytest.raises(PassError, match="is not the reciprocal of a norm"):
        DivideInNorms().requires(coarse)
