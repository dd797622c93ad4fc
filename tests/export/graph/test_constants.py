"""Graphs as people see them: none of what torch's exporter leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
import pytest

from tests.support.exports import exported
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.export.components.registry import COMPONENTS
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.runtime import OPSETS, loads
from vampnet_onnx.models import ModelSet

# No set of the tests has a beat tracker; `components/test_beat_tracker.py` exports one.
IN_SETS = [name for name in COMPONENTS if name != "beat_tracker"]


def is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def made_by(value: ir.Value | None, *kinds: str) -> bool:
    node = None if value is None else value.producer()
    return node is not None and node.op_type in kinds


def leftovers(model: ir.Model) -> Iterator[str]:
    for node in model.graph.all_nodes():
        if node.op_type == "CastLike":
            yield f"{node.name} casts"
        if node.op_type == "Range" and (
            all(is_constant(value) for value in node.inputs)
            or any(made_by(value, "Cast", "CastLike") for value in node.inputs)
        ):
            yield f"{node.name} is known"
        if node.op_type in ("Reshape", "Expand") and made_by(node.inputs[1], "Concat"):
            joined = node.inputs[1].producer()
            axes = [value for value in joined.inputs if not is_constant(value)]
            if node.op_type == "Reshape" and len(axes) <= 1:
                yield f"{node.name} could take a constant"
            if any(made_by(value, "Unsqueeze", "Reshape") for value in axes):
                yield f"{node.name} takes a shape that is put together"
        if MODULE_KEY not in node.metadata_props:
            yield f"{node.name} is of no module"


def test_no_leftovers_in_any_file(golden_artifacts: Artifacts) -> None:
    records = golden_artifacts.manifest.components
    assert {record.name for record in records} == set(IN_SETS)
    for record in records:
        model = ir.load(golden_artifacts.path(record))
        assert len(model.graph) > 5 and [*leftovers(model)] == []


@pytest.mark.parametrize("opset", [18, max(filter(loads, OPSETS))])
@pytest.mark.parametrize("name", [name for name in IN_SETS if name != "c2f"])
def test_no_leftovers_at_another_opset(models: ModelSet, name: str, opset: int) -> None:
    """The two transformers are exported by the same code."""
    model = exported(models, name, opset=opset).model
    assert len(model.graph) > 5 and [*leftovers(model)] == []


def test_one_shape_of_a_transformer_is_read_and_no_more(models: ModelSet) -> None:
    """The position bias needs the number of frames; every other axis follows."""
    kinds = [node.op_type for node in exported(models, "coarse").model.graph]
    assert kinds.count("Shape") == 1 and "Concat" not in kinds
