"""Opsets that the installed runtime does not load are refused before anything is traced."""

from __future__ import annotations

import pytest

from tests.support.exports import exported
from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.export import runtime
from vampnet_onnx.models import ModelSet


def test_every_runtime_that_is_declared_loads_the_default_opset_and_the_next() -> None:
    assert [opset for opset in runtime.OPSETS if runtime.loads(opset)][:4] == [18, 19, 20, 21]


@pytest.mark.parametrize("name", ["coarse", "sampler"])
def test_an_opset_that_the_runtime_does_not_load_is_refused_with_the_way_out(
    models: ModelSet, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As ONNX Runtime 1.20 does, whatever runs here."""
    monkeypatch.setattr(runtime, "loads", lambda opset: opset < 22)
    with pytest.raises(EnvironmentLacksError, match=r"of opset 23;.*--opset 21"):
        exported(models, name, opset=23)
    exported(models, "sampler", opset=21)
