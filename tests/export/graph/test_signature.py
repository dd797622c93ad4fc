"""The check of every exported graph: what has no place in a file is refused."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.built_components import DIMS
from tests.support.exports import exported
from vampnet_onnx.export.components.component import BuiltComponent, signature
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.graph import GraphBuilder, check_graph
from vampnet_onnx.export.passes.base import PassError
from vampnet_onnx.models import ModelSet


def test_a_random_operator_is_found_within_a_branch_too() -> None:
    def draw(g: GraphBuilder, given: dict[str, object]) -> dict[str, object]:
        x = given["x"]
        return {"y": g.when(x.reshape() > 0.0, lambda: x.op("Bernoulli"), lambda: x)}

    component = BuiltComponent(
        name="odd",
        variant="",
        inputs=(signature("x", "float32", 1),),
        outputs=(signature("y", "float32", 1),),
        dims=DIMS,
        build=draw,
    )
    with pytest.raises(PassError, match="Bernoulli"):
        export_component(component)


def test_a_large_weight_may_not_be_infinite_but_a_scalar_may() -> None:
    def draw(value: np.ndarray) -> BuiltComponent:
        return BuiltComponent(
            name="odd",
            variant="",
            inputs=(signature("x", "float32", 2),),
            outputs=(signature("y", "float32", 2),),
            dims=DIMS,
            build=lambda g, given: {"y": given["x"] + g.constant(value)},
        )

    export_component(draw(np.array(-np.inf, np.float32)))
    for value in (np.array([0, np.inf], np.float32), np.array(np.nan, np.float32)):
        with pytest.raises(PassError, match="non-finite"):
            export_component(draw(value))


def test_the_graph_check_refuses_what_has_no_place_in_a_file(models: ModelSet) -> None:
    """The check is run on every export; here it must see what it looks for."""
    found = exported(models, "coarse", variant="latents")
    check_graph(found.model, 20)
    with pytest.raises(PassError, match="opsets"):
        check_graph(found.model, 19)
    graph = found.model.graph
    stray = ir.Value(name="stray", const_value=ir.tensor(np.ones(3, np.float32)))
    graph.register_initializer(stray)
    with pytest.raises(PassError, match="unused weight in the file: stray"):
        check_graph(found.model, 20)
    del graph.initializers["stray"]
    norm = graph.initializers["transformer.norm.weight"]
    good = norm.const_value
    norm.const_value = ir.tensor(np.full(21, np.nan, np.float32))
    with pytest.raises(PassError, match=r"non-finite weight in the file: transformer\.norm"):
        check_graph(found.model, 20)
    norm.const_value = good
    next(iter(graph)).op_type = "RandomNormal"
    with pytest.raises(PassError, match="RandomNormal"):
        check_graph(found.model, 20)
