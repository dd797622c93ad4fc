"""Files as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.exports import compute, export_to, record_of
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError


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
