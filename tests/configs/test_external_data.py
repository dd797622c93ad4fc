"""Files that a graph takes weights from are found wherever in the graph they are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.external_data import require_own_data
from vampnet_onnx.configs.manifest import FileRecord


def outside(name: str = "w") -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value="elsewhere.data")
    return tensor


def sparse() -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(outside(), outside("indices"), [4])


def node(key: str, value: object) -> onnx.NodeProto:
    return helper.make_node("Any", [], ["y"], domain="mine", **{key: value})


def branch() -> onnx.GraphProto:
    return helper.make_graph([], "branch", [], [], [outside()])


PLACES: dict[str, Callable[[onnx.ModelProto], object]] = {
    "weight": lambda m: m.graph.initializer.append(outside()),
    "sparse weight": lambda m: m.graph.sparse_initializer.append(sparse()),
    "constant": lambda m: m.graph.node.append(node("value", outside())),
    "constants": lambda m: m.graph.node.append(node("values", [outside()])),
    "sparse constant": lambda m: m.graph.node.append(node("value", sparse())),
    "branch": lambda m: m.graph.node.append(node("then_branch", branch())),
    "branches": lambda m: m.graph.node.append(node("all", [branch()])),
    "function": lambda m: m.functions.add().node.append(node("value", outside())),
    "default of a function": lambda m: m.functions.add().attribute_proto.append(
        helper.make_attribute("value", outside())
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_the_manifest_does_not_list_is_found(
    nano_artifacts: Artifacts, tmp_path: Path, place: str
) -> None:
    model, path = onnx.load(nano_artifacts.folder / "coarse.onnx"), tmp_path / "coarse.onnx"
    record = record_of(nano_artifacts, "coarse")
    path.write_bytes(model.SerializeToString())
    require_own_data(record, path)
    PLACES[place](model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(
        InputError, match=r"from 'elsewhere\.data', but manifest\.json lists no"
    ):
        require_own_data(record, path)
    listed = FileRecord(name="elsewhere.data", sha256="", size=16)
    require_own_data(record.model_copy(update={"data": listed}), path)
    other = listed.model_copy(update={"name": "other.data"})
    with pytest.raises(InputError, match=r"lists other\.data as its data"):
        require_own_data(record.model_copy(update={"data": other}), path)


@pytest.mark.parametrize(
    "damaged",
    [
        lambda data: b"",
        lambda data: data[:-9],
        lambda data: b"\x3b" + data,
        lambda data: data + b"\x38" + b"\xff" * 12,
    ],
    ids=["empty", "short", "group", "number"],
)
def test_what_is_no_graph_is_refused(
    nano_artifacts: Artifacts, tmp_path: Path, damaged: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "coarse.onnx"
    path.write_bytes(damaged((nano_artifacts.folder / "coarse.onnx").read_bytes()))
    with pytest.raises(InputError, match=r"coarse\.onnx: not an ONNX model that can be read"):
        require_own_data(record_of(nano_artifacts, "coarse"), path)
    with pytest.raises(InputError, match=r"none\.onnx: not an ONNX model that can be read"):
        require_own_data(record_of(nano_artifacts, "coarse"), tmp_path / "none.onnx")
