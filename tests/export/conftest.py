"""The graphs of the nano set."""

from __future__ import annotations

import onnx
import pytest

from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts

FILES = ["codec_encoder", "codec_decoder", "coarse", "coarse.latents", "c2f", "c2f.latents"]


@pytest.fixture(scope="session", params=FILES)
def graph(request: pytest.FixtureRequest, nano_artifacts: Artifacts) -> onnx.ModelProto:
    record = record_of(nano_artifacts, request.param)
    model = onnx.load(str(nano_artifacts.path(record)))
    model.doc_string = ""
    return model
