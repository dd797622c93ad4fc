"""Defects of forms; planted in files that were exported soundly."""

import numpy as np
import onnx_ir as ir

from .base import FileDefect, replace_weight

_INT8 = "coarse.int8"


class ScalesOfALayerDoubled(FileDefect, of=_INT8, at="transformer.layers.1.feed_forward.w_2"):
    """The 8-bit weights of one layer have twice their scale."""

    def plant(self, model: ir.Model) -> None:
        _scale(model, self.culprit, 2)


class ScalesFivePercentOff(FileDefect, of=_INT8, at="transformer.layers.0.self_attn.fc"):
    """The 8-bit weights of one layer have scales that are 5 % too large."""

    def plant(self, model: ir.Model) -> None:
        _scale(model, self.culprit, 1.05)


class CollapseToTheBestToken(FileDefect, of=_INT8, at="classifier.layers.0"):
    """The scales of the last layer are so large that every draw is the most likely token."""

    def plant(self, model: ir.Model) -> None:
        _scale(model, self.culprit, 20)


def _scale(model: ir.Model, path: str, factor: float) -> None:
    replace_weight(model, f"{path}.weight_scales", lambda found: found * np.float32(factor))
