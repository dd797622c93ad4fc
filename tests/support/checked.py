"""What a checked component failed, and changes that make it fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from vampnet_onnx.reports import Component
from vampnet_onnx.reports.schema import Gate
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.subjects.case import Computed

Outputs = dict[str, np.ndarray]


Change = Callable[[Mapping[str, np.ndarray], Outputs], Outputs]


def failed(result: Component) -> set[str]:
    return {gate.name for gate in result.gates if gate.verdict == "FAIL"}


def gate(result: Component, name: str) -> Gate:
    return next(g for g in result.gates if g.name == name)


def weights_of(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(i for i in model.graph.initializer if i.name == name)


def scaled(name: str, factor: float) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        tensor = weights_of(model, name)
        array = numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))

    return edit


COMPONENTS = ["codec_encoder", "codec_decoder", "coarse", "coarse.latents", "c2f"]


class Doubtful(Reference):
    """A reference that was in doubt about every token of one frame in `every`.

    Between which ones it does not say.
    """

    every = 5

    def run(self, *arguments: Any) -> Computed:
        found = super().run(*arguments)
        assert found.margins is not None
        margins = found.margins.copy()
        margins[..., :: self.every] = 0
        return dataclasses.replace(found, margins=margins, tables=())

    @property
    def in_float64(self) -> Any:
        return type(self)(super().in_float64._models)
