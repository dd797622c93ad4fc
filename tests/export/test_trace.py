"""A graph depends on a structure alone: nothing looks at values."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.support.exports import exported
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.deferred import deferred
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.passes.base import PassError, apply_passes
from vampnet_onnx.export.trace import GraphRequest, graph_of, traced_graph
from vampnet_onnx.models import ModelSet, open_models


@pytest.fixture(scope="module")
def alike(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    """A set whose weights of one shape are all equal: norms, biases, tables, projections."""
    folder = Path(shutil.copytree(nano, tmp_path_factory.mktemp("alike") / "set"))
    for path in folder.glob("*.pth"):
        content = torch.load(path, weights_only=True)
        state = content["state_dict"]
        for name, value in state.items():
            generator = torch.Generator().manual_seed(value.numel())
            state[name] = 1 + 0.1 * torch.rand(value.shape, generator=generator)
            if name.endswith("alpha") or "norm" in name or name.endswith("bias"):
                state[name] = torch.ones_like(value)
        torch.save(content, path)
    return open_models(folder)


@pytest.mark.parametrize("name", ["codec_encoder", "codec_decoder", "c2f"])
def test_equal_weights_stay_as_many_as_they_are(
    models: ModelSet, alike: ModelSet, name: str
) -> None:
    wanted, found = exported(models, name).model.graph, exported(alike, name).model.graph
    assert [*found.initializers] == [*wanted.initializers]
    nodes = [
        [(n.name, n.op_type, [v and v.name for v in n.inputs]) for n in graph]
        for graph in (wanted, found)
    ]
    assert nodes[0] == nodes[1]
    values = [
        v.const_value.numpy().tobytes() for v in found.initializers.values() if v.const_value
    ]
    assert len({*values}) < len(values) - 3  # the set is what it should be


@pytest.mark.parametrize("name", ["codec_decoder", "coarse"])
def test_a_structure_gives_the_graph_that_its_checkpoint_gives(
    models: ModelSet, name: str
) -> None:
    component = build_component(name, models)
    assert isinstance(component, TracedComponent)
    module = deferred(component.module)
    apply_passes(module, component.passes)
    asked = GraphRequest(component.structure, 20)
    assert graph_of(asked) == traced_graph(component, module, 20)


def test_a_graph_of_other_dimensions_is_not_filled(models: ModelSet, golden_a) -> None:  # type: ignore[no-untyped-def]
    component = build_component("coarse", models)
    other = build_component("coarse", golden_a.models)
    assert isinstance(other, TracedComponent)
    graph = graph_of(GraphRequest(other.structure, 20))
    with pytest.raises(PassError, match="the graph takes"):
        export_component(component, graph=lambda: graph)
