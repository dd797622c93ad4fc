"""Built components: their files, whatever the component."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from tests.support.built_components import BUILT, DIMS, all_nodes, dims_like, proto, run_model
from vampnet_onnx.export.components.audio_processor import audio_processor
from vampnet_onnx.export.components.component import BuiltComponent, signature
from vampnet_onnx.export.components.mask_generator import mask_generator
from vampnet_onnx.export.components.sampler import sampler
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.runtime import OPSETS, loads


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("opset", filter(loads, OPSETS))
def test_every_opset_is_valid_and_runs(name: str, opset: int) -> None:
    component = BUILT[name]()
    model = export_component(component, opset=opset).model
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    run_model(model)
    assert ir.to_proto(model).opset_import[0].version == opset


@pytest.mark.parametrize("name", BUILT)
def test_the_same_component_gives_the_same_bytes(name: str) -> None:
    first, second = (proto(name).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", BUILT)
def test_nodes_are_named_after_where_they_stand(name: str) -> None:
    model = proto(name)
    nodes = all_nodes(model.graph)
    assert len({node.name for node in nodes}) == len(nodes) > 10
    for node in nodes:
        path = {p.key: p.value for p in node.metadata_props}[MODULE_KEY]
        assert node.name.startswith(f"{path}/" if path else node.op_type)
        assert not node.domain and "Random" not in node.op_type
        assert node.op_type not in ("Bernoulli", "Multinomial", "Dropout")


@pytest.mark.parametrize("name", BUILT)
def test_no_dimension_but_the_checkpoints_is_fixed(name: str) -> None:
    """One channel comes out of preparing, and a step chooses among the codebook's entries."""
    model = proto(name)
    fixed = {
        d.dim_value
        for value in (*model.graph.input, *model.graph.output)
        for d in value.type.tensor_type.shape.dim
        if not d.dim_param
    }
    expected = {
        "audio_processor": {1},
        "mask_generator": set(),
        "sampler": {DIMS.codebook_size},
    }
    assert fixed == expected[name.partition(".")[0]]


def test_a_graph_that_contradicts_its_signature_is_refused() -> None:
    component = BuiltComponent(
        name="odd",
        variant="",
        inputs=(signature("x", "float32", "n"),),
        outputs=(signature("y", "int64", "n"),),
        dims=DIMS,
        build=lambda _, given: {"y": given["x"] + 1.0},
    )
    with pytest.raises(TypeError, match=r"y int64 \[n\].*float32"):
        export_component(component)


# As part of a set.


def test_only_the_codecs_dimensions_decide() -> None:
    other = dims_like(DIMS, encoder_dim=8, n_codebooks=4, codebook_dims=(6,) * 4)
    for make in (audio_processor, mask_generator, sampler):
        first, second = (
            ir.to_proto(export_component(make(dims)).model).SerializeToString()
            for dims in (DIMS, other)
        )
        assert first == second
