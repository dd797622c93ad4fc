"""Files as they are written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.exports import compute, export_to, record_of
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export import onnx_file
from vampnet_onnx.export.onnx_file import read_graph


def test_onnx_itself_finds_nothing_wrong(nano_artifacts: Artifacts) -> None:
    for record in nano_artifacts.manifest.components:
        path = nano_artifacts.path(record)
        onnx.checker.check_model(str(path), full_check=True)
        assert onnx.load(str(path)).graph.node


def test_the_bytes_are_what_protobuf_itself_would_write(nano_artifacts: Artifacts) -> None:
    for record in nano_artifacts.manifest.components:
        path = nano_artifacts.path(record)
        assert onnx.load(str(path)).SerializeToString() == path.read_bytes()


def test_external_data_goes_beside_the_graph_and_gives_the_same_numbers(
    nano: Path, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    found = export_to(
        tmp_path / "v1", nano, components=("coarse",), inputs=("codes",), external_data=True
    )
    record = record_of(found, "coarse")
    assert record.data is not None and record.data.name == "coarse.onnx.data"
    assert record.file.size < record_of(nano_artifacts, "coarse").file.size
    codes = np.random.default_rng(0).integers(0, 12, (3, 2, 9))
    inside = compute(nano_artifacts.path(record_of(nano_artifacts, "coarse")), codes=codes)
    outside = compute(found.path(record), codes=codes)
    np.testing.assert_array_equal(inside["logits"], outside["logits"])
    onnx.checker.check_model(str(found.path(record)), full_check=True)
    (tmp_path / "v1" / record.data.name).write_bytes(b"x" * record.data.size)
    with pytest.raises(InputError, match=re.escape("coarse.onnx.data")):
        open_artifacts(tmp_path / "v1")


@pytest.mark.parametrize("external", [True, False])
def test_weights_go_to_a_file_of_their_own_from_a_size_on(
    nano_artifacts: Artifacts, tmp_path: Path, external: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = read_graph(nano_artifacts.folder / "coarse.onnx")
    values = [value.const_value for value in model.graph.initializers.values()]
    size = sum(value.nbytes for value in values if value is not None)
    least = size if external else size + 1
    monkeypatch.setattr(onnx_file, "EXTERNAL_FROM_BYTES", least)
    _, data = onnx_file.save_graph(model, tmp_path / "coarse.onnx")
    assert (data is not None) == external == (tmp_path / "coarse.onnx.data").exists()


# What is read.


def weight_of(model: onnx.ModelProto) -> onnx.TensorProto:
    return next(item for item in model.graph.initializer if len(item.dims) == 2)


def of_dims(*dims: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        weight_of(model).dims[:] = dims

    return change


def outside(**facts: str) -> Callable[[onnx.ModelProto], None]:
    """Put a weight of 4 bytes into another file, of which these are the facts."""

    def change(model: onnx.ModelProto) -> None:
        weight = weight_of(model)
        weight.ClearField("raw_data")
        weight.dims[:] = [1]
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in facts.items():
            weight.external_data.add(key=key, value=value)

    return change


def again(model: onnx.ModelProto) -> None:
    """Give a weight a second value, as the last one."""
    model.graph.initializer.add().CopyFrom(weight_of(model))


def as_output(model: onnx.ModelProto) -> None:
    weight_of(model).name = model.graph.node[-1].output[0]


def twice_in_a_branch(model: onnx.ModelProto) -> None:
    branch = onnx.GraphProto(name="branch")
    for _ in range(2):
        branch.initializer.add().CopyFrom(onnx.numpy_helper.from_array(np.ones(1), "one"))
    model.graph.node.add(op_type="If").attribute.append(
        onnx.helper.make_attribute("then_branch", branch)
    )


def untyped(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.add(name="axis", i=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (untyped, "the attribute 'axis' has no type"),
        (again, "is given by a weight and by a weight"),
        (as_output, "is given by a weight and by a node"),
        (twice_in_a_branch, "'one' is given by a weight and by a weight"),
        (of_dims(1 << 40, 3), "cannot reshape"),
        (of_dims(-1, 3), "is of shape"),
        (lambda model: setattr(weight_of(model), "data_type", 99), "99 is not a valid"),
        (lambda model: model.graph.node.pop(0), "nothing makes"),
        (lambda model: model.graph.ClearField("initializer"), "nothing makes"),
        (outside(location="none.data"), "no file beside it"),
        (outside(location="../outside.data"), "no file beside it"),
        (outside(location="/etc/passwd"), "no file beside it"),
        (outside(location="few.data", offset="1"), "needs 4 bytes; few.data has 3 from 1"),
        (outside(location="few.data", length="3"), "3 are its own"),
        (outside(location="few.data", length="x"), "not an ONNX model that can be read"),
    ],
)
def test_a_graph_that_is_not_whole_is_refused(
    nano_artifacts: Artifacts,
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], object],
    words: str,
) -> None:
    model = onnx.load(str(nano_artifacts.folder / "coarse.onnx"))
    change(model)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "few.data").write_bytes(b"four")
    (tmp_path / "outside.data").write_bytes(b"four")
    (folder / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"x\.onnx: ") as caught:
        read_graph(folder / "x.onnx")
    assert words in str(caught.value)


def test_a_file_that_is_no_graph_is_refused(nano_artifacts: Artifacts, tmp_path: Path) -> None:
    sound = (nano_artifacts.folder / "coarse.onnx").read_bytes()
    read_graph(nano_artifacts.folder / "coarse.onnx")
    name = b"transformer.layers.0.norm_1.weight"
    assert name in sound
    for data in (b"hello", sound[:-9], sound.replace(name, b"\xff" + name[1:], 1)):
        (tmp_path / "x.onnx").write_bytes(data)
        with pytest.raises(InputError, match=r"x\.onnx: not an ONNX model that can be read"):
            read_graph(tmp_path / "x.onnx")
    with pytest.raises(InputError, match="no such ONNX file"):
        read_graph(tmp_path / "none.onnx")
