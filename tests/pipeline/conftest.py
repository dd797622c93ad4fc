"""The pipeline of either golden set."""

from __future__ import annotations

from pathlib import Path

import pytest

from vampnet_onnx.pipeline.vamp import VampPipeline


@pytest.fixture(scope="session")
def pipeline(exported: Path) -> VampPipeline:
    return VampPipeline.open(exported)
