"""Half precision computed in float32."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from vampnet_onnx.export.onnx_file import read_graph
from vampnet_onnx.verify.localisation.widen import widen


def test_no_half_precision_is_left_and_what_was_in_it_is_told(forms_a: Path) -> None:
    model = read_graph(forms_a / "coarse.fp16.onnx")
    found = widen(model.graph)
    assert not any(v.dtype == ir.DataType.FLOAT16 for v in model.graph.initializers.values())
    told = {str(node.name) for node in found}
    assert "transformer.layers.0.self_attn/MatMul_0" in told and "classifier/Reshape_1" in told
    assert "transformer.layers.0.self_attn/Softmax_0" not in told
    assert not widen(model.graph), "nothing is left to widen"
