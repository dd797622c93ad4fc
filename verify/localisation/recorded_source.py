"""Recorded activations as the side of a walk that is taken as right.

A set records what stands between the parts of a network: the output of every transformer layer
(``activations``), the encoder's output (``z_continuous``), the decoder's input
(``z_quantized``).  A walk over these tells after which part an export departs from what was
recorded; what nothing was recorded of belongs to the next part that something was.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn

from vampnet_onnx.verify.numbers.metrics import relative_l2
from vampnet_onnx.verify.subjects.case import Parts

from .float64 import float64_twin
from .torch_source import ROOT, ModuleIO, Trace, Visit


class RecordedSource:
    """The recorded parts of one case."""

    def __init__(
        self,
        parts: Parts,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        module: nn.Module,
    ) -> None:
        """Take a recorded case.

        Args:
            parts: what was recorded between modules.
            inputs: recorded, by the names of the graph's inputs.
            outputs: recorded, by the names of the graph's outputs.
            module: our entry module of the set's checkpoint; it runs in float64 only, where
                the recorded rounding has to be estimated.
        """
        self.inputs = inputs
        self.stages = [ROOT]
        self.expected = frozenset[str]()
        self._module = module
        self._parts = {path: ModuleIO(*io) for path, io in parts.items()}
        self._parts[ROOT] = ModuleIO(tuple(inputs.values()), tuple(outputs.values()))

    def stream(self, visit: Visit) -> None:
        """Hand over all parts at once."""
        visit(Trace(dict(self._parts), {p: partial(self._rounding, p) for p in self._parts}))

    def _rounding(self, path: str) -> float:
        """Return how far recorded float32 outputs are from float64 ones."""
        # A module may return more than was recorded of it.
        pairs = zip(self._exact.get(path, ()), self._parts[path].outputs, strict=False)
        errors = [relative_l2(e, r) for e, r in pairs if e.shape == r.shape]
        return max((e for e in errors if np.isfinite(e)), default=0.0)

    @cached_property
    def _exact(self) -> dict[str, list[np.ndarray]]:
        twin, found = float64_twin(self._module), dict[str, list[np.ndarray]]()

        def keep(path: str, _module: nn.Module, _inputs: object, output: object) -> None:
            given = output if isinstance(output, tuple) else (output,)
            found[path] = [item.numpy() for item in given if isinstance(item, Tensor)]

        for path in self._parts:
            twin.get_submodule(path).register_forward_hook(partial(keep, path))
        arrays = [torch.from_numpy(array) for array in self.inputs.values()]
        with torch.inference_mode():
            twin(*(a.double() if a.is_floating_point() else a for a in arrays))
        return found
