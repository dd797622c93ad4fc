"""The files of the drawn components: what is in them, and how they come to be exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.support.built_components import DIMS, dims_like, run_model
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.config import config_from
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import Manifest, TensorSignature
from vampnet_onnx.export.components.audio_processor import audio_processor
from vampnet_onnx.export.components.component import BuiltComponent, signature
from vampnet_onnx.export.components.mask_generator import mask_generator
from vampnet_onnx.export.components.registry import COMPONENTS
from vampnet_onnx.export.components.sampler import sampler
from vampnet_onnx.export.export_set import Request, export_set
from vampnet_onnx.export.exporter import OPSETS, export_component
from vampnet_onnx.export.graph import MODULE_KEY, GraphBuilder
from vampnet_onnx.export.passes.base import PassError

DRAWN = {
    "audio_processor": lambda: audio_processor(DIMS),
    "audio_processor.from_48000": lambda: audio_processor(DIMS, source_rate=48000),
    "mask_generator": lambda: mask_generator(DIMS),
    "sampler": lambda: sampler(DIMS),
}


def proto(name: str, opset: int = 20) -> onnx.ModelProto:
    return ir.to_proto(export_component(DRAWN[name](), opset=opset).model)


def all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    inner = [
        node
        for outer in graph.node
        for attribute in outer.attribute
        if attribute.HasField("g")
        for node in all_nodes(attribute.g)
    ]
    return [*graph.node, *inner]


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_is_valid_and_runs(name: str, opset: int) -> None:
    component = DRAWN[name]()
    model = export_component(component, opset=opset).model
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    run_model(model)
    assert ir.to_proto(model).opset_import[0].version == opset


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_component_gives_the_same_bytes(name: str) -> None:
    first, second = (proto(name).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", DRAWN)
def test_nodes_are_named_after_where_they_stand(name: str) -> None:
    model = proto(name)
    nodes = all_nodes(model.graph)
    assert len({node.name for node in nodes}) == len(nodes)
    for node in nodes:
        path = {p.key: p.value for p in node.metadata_props}[MODULE_KEY]
        assert node.name.startswith(f"{path}/" if path else node.op_type)
        assert not node.domain and "Random" not in node.op_type
        assert node.op_type not in ("Bernoulli", "Multinomial", "Dropout")


@pytest.mark.parametrize("name", DRAWN)
def test_no_dimension_but_the_checkpoints_is_fixed(name: str) -> None:
    model = proto(name)
    fixed = {
        d.dim_value
        for value in (*model.graph.input, *model.graph.output)
        for d in value.type.tensor_type.shape.dim
        if not d.dim_param
    }
    assert fixed <= {1, DIMS.codebook_size}


def test_no_sorting_outside_of_the_branches_but_of_the_confidence() -> None:
    """Sorting a vocabulary for every code costs several times the rest of a step."""
    model = proto("sampler")
    assert [n.op_type for n in model.graph.node].count("TopK") == 1
    assert [n.op_type for n in all_nodes(model.graph)].count("TopK") == 4


def test_a_drawing_that_contradicts_its_signature_is_refused() -> None:
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


# As part of a set.


@pytest.fixture(scope="module")
def exported_set(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("set")
    request = Request(
        model="mine",
        checkpoint=GOLDEN / "a",
        inputs=("codes",),
        opset=20,
        components=("audio_processor", "mask_generator", "sampler"),
        external_data=False,
        lora={},
        rates=(48000, 8000),
    )
    return folder, export_set(request, folder, progress=lambda *_: None)


def test_a_set_holds_them_after_the_networks(exported_set: tuple[Path, Manifest]) -> None:
    assert COMPONENTS[-3:] == ("audio_processor", "mask_generator", "sampler")
    ids = [record.id for record in exported_set[1].components]
    assert ids == [
        "audio_processor",
        "audio_processor.from_48000",
        "mask_generator",
        "sampler",
    ]
    assert [source.name for source in exported_set[1].sources] == ["codec.pth"]


def test_each_file_carries_its_facts(exported_set: tuple[Path, Manifest]) -> None:
    folder, manifest = exported_set
    for record in manifest.components:
        model = onnx.load(str(folder / record.file.name))
        facts = {p.key.removeprefix("vampnet_onnx."): p.value for p in model.metadata_props}
        assert facts["component"] == record.name and facts["variant"] == record.variant
        assert json.loads(facts["dims"])["sample_rate"] == record.dims["sample_rate"]
        signatures = [TensorSignature(**item) for item in json.loads(facts["inputs"])]
        assert tuple(signatures) == record.inputs
        assert [value.name for value in model.graph.input] == [s.name for s in record.inputs]


def test_rates_come_from_the_configuration(tmp_path: Path) -> None:
    values = {"model": "mine", "checkpoint": {"path": "x"}, "export": {"rates": [16000]}}
    config = config_from(values, source="my.toml")
    assert Request.from_config(config, Path("x")).rates == (16000,)
    values["export"] = {}
    assert Request.from_config(config_from(values, source="my.toml"), Path("x")).rates is None


def test_a_rate_of_no_use_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"export\.rates"):
        export_set(
            Request(
                model="mine",
                checkpoint=GOLDEN / "a",
                inputs=("codes",),
                opset=20,
                components=("audio_processor",),
                external_data=False,
                lora={},
                rates=(999_983,),
            ),
            tmp_path,
            progress=lambda *_: None,
        )


def test_only_the_codecs_dimensions_decide() -> None:
    other = dims_like(DIMS, encoder_dim=8, n_codebooks=4, codebook_dims=(6,) * 4)
    for make in (audio_processor, mask_generator, sampler):
        first, second = (
            ir.to_proto(export_component(make(dims)).model).SerializeToString()
            for dims in (DIMS, other)
        )
        assert first == second
