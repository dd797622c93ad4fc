"""The demo set: what the reference makes of its clip, and its coarse model in int8."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.exports import exported, saved
from tests.support.heard import Heard, record_for
from tests.support.once import made_once
from vampnet_onnx.configs.packaged import packaged_set
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.subjects.case import Case


@pytest.fixture(scope="session")
def demo() -> ModelSet:
    return open_models(packaged_set("demo"))


@pytest.fixture(scope="session")
def heard(demo: ModelSet) -> Heard:
    record = record_for(demo)
    case = Case(record.id, seed=0, batch=32, length=48, codebooks=10)
    return Heard(demo, record, case, Reference(demo).run(record, case))


@pytest.fixture(scope="session")
def int8(demo: ModelSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo set's coarse model in int8."""

    def make(folder: Path) -> None:
        folder.mkdir()
        with torch.no_grad():
            saved(exported(demo, "coarse", variant="int8"), folder)

    return made_once(tmp_path_factory, "demo-int8", make) / "coarse.int8.onnx"
