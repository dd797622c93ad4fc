"""Every node says which module it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.models import open_models


def test_every_node_says_which_module_it_came_from(
    nano: Path, nano_artifacts: Artifacts
) -> None:
    models = open_models(nano)
    owners: dict[str, Any] = {
        "codec_encoder": models.codec,
        "codec_decoder": models.codec,
        **models.transformers,
    }
    for record in nano_artifacts.manifest.components:
        published = {name for name, _ in owners[record.name].named_modules()}
        graph = onnx.load(str(nano_artifacts.path(record))).graph
        paths = set()
        for node in graph.node:
            props = {p.key: p.value for p in node.metadata_props}
            assert set(props) == {MODULE_KEY}, node.name
            paths.add(props[MODULE_KEY])
            assert node.name.rpartition("/")[0] == props[MODULE_KEY]
        unknown = paths - published
        assert not unknown, unknown
        assert len(paths) > 5
