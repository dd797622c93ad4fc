"""Defects of a generation in one graph, planted in files that were exported soundly.

No module of a loop can be cut out and run by itself: cases catch them, the audit names them.
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from .base import FileDefect, nodes_of, replace_weight
from .built import constant_of

_ROUND = "loop.noise.exponential.round"
_LAST_ROUND = f"{_ROUND}_9"


class RoundDropped(FileDefect, of="coarse.generator", at=_LAST_ROUND):
    """The noise is made with nine rounds of Philox in place of ten."""

    def plant(self, model: ir.Model) -> None:
        before, last = (_ends(model, f"{_ROUND}_{i}") for i in (8, 9))
        inside = {id(node) for node in _nodes(model, _LAST_ROUND)}
        for made, instead in zip(last, before, strict=True):
            for user, index in list(made.uses()):
                if id(user) not in inside:
                    user.replace_input_with(index, instead)
        common.RemoveUnusedNodesPass()(model)


class StreamRestarted(FileDefect, of="c2f.generator", at="loop"):
    """Every chunk begins with the first word of the noise, wherever the last one ended."""

    def plant(self, model: ir.Model) -> None:
        loop = next(nodes_of(model, "loop", "Loop"))
        place = [value is not None and value.name == "start" for value in loop.inputs]
        loop.replace_input_with(place.index(True), constant_of(model, "zero", np.array(0)))


class TemperatureOfTheLastStep(FileDefect, of="coarse.generator", at="loop.sampler.remask"):
    """The noise of the remasking fades by the step before."""

    def plant(self, model: ir.Model) -> None:
        step_and_one = next(nodes_of(model, self.culprit, "Add"))
        step_and_one.op_type = "Mul"


class WeightsOfAnotherModel(
    FileDefect, of="c2f.generator", at="transformer.layers.0.feed_forward.w_1"
):
    """The weights of a layer are those of another model of the same size."""

    def plant(self, model: ir.Model) -> None:
        def others(weight: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(weight[::-1, ::-1])

        replace_weight(model, f"{self.culprit}.weight", others)


def _nodes(model: ir.Model, path: str) -> list[ir.Node]:
    return [*nodes_of(model, path, "BitwiseXor"), *nodes_of(model, path, "Mul")]


def _ends(model: ir.Model, path: str) -> list[ir.Value]:
    """Return what a round gives: both rows of words."""
    return [list(nodes_of(model, path, kind))[-1].outputs[0] for kind in ("BitwiseXor", "Mul")]
