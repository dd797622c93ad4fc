"""Any module to a file whose nodes say where they came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.support.exports import compute
from tests.support.foreign import convolutional
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.with_paths import export_with_paths


def test_the_file_computes_what_the_module_does_and_names_its_parts(tmp_path: Path) -> None:
    module, image = convolutional(), np.ones((2, 3, 9, 9), np.float32)
    path = export_with_paths(
        module, {"image": image}, tmp_path / "net.onnx", dynamic_shapes={"image": {0: "batch"}}
    )
    more = np.random.default_rng(0).standard_normal((5, 3, 9, 9)).astype(np.float32)
    with torch.no_grad():
        expected = module(torch.from_numpy(more)).numpy()
    (found,) = compute(path, image=more).values()
    assert np.abs(found - expected).max() < 1e-5
    model = ir.load(path)
    named = {node.metadata_props[MODULE_KEY]: str(node.name) for node in model.graph}
    assert {"stem.0", "stem.1", "stem.2", "block.1", "head", ""} <= set(named)
    assert named["block.1"] == "block.1/BatchNormalization_0"
    assert set(module.state_dict()) - set(model.graph.initializers) <= {
        "stem.1.num_batches_tracked",
        "block.1.num_batches_tracked",
    }


def test_a_failed_export_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_text("before")
    with pytest.raises(Exception, match="image"):
        export_with_paths(convolutional(), {"picture": np.ones(3)}, path)
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
