"""What the search found, once for all of its tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.verify.search.job import Sensitivity, measure_layers

ASKED = 0.98


@pytest.fixture(scope="session")
def found(exported_a: Path) -> Sequence[Sensitivity]:
    """Golden set a's coarse model in four bits; few layers need to stay."""
    artifacts = open_artifacts(exported_a)
    return measure_layers(artifacts, form="w4", agreement=ASKED, components=["coarse"])
