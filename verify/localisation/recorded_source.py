"""Recorded activations as the side of a walk that is taken as right.

A set records what stands between the parts of a network (`verify.subjects`), such as the
output of every transformer layer.  A walk over these tells after which part an export departs
from what was recorded; what nothing was recorded of belongs to the next part that something
was.
"""

from collections.abc import Mapping
from functools import cached_property, partial

import numpy as np
import torch
from torch import nn

from vampnet_onnx.verify.subjects.case import Parts

from .source import ROOT, ModuleIO, Source, Visit
from .torch_source import arrays_of, float64_twin, largest_rounding


class RecordedSource(Source):
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
            inputs: recorded, by the names of the graph's inputs.
            outputs: recorded, by the names of the graph's outputs.
            module: our entry module of the set's checkpoint; it runs in float64 only, where
                the recorded rounding has to be estimated.
        """
        self.inputs = inputs
        self.stages = [ROOT]
        self._module = module
        self._parts = {**parts, ROOT: (tuple(inputs.values()), tuple(outputs.values()))}

    def stream(self, visit: Visit) -> None:
        """Hand over all parts at once."""
        visit(
            {
                path: ModuleIO(*arrays, partial(self._rounding, path))
                for path, arrays in self._parts.items()
            }
        )

    def _rounding(self, path: str) -> float:
        """Return how far recorded float32 outputs are from float64 ones."""
        # A module may return more than was recorded of it.
        _, recorded = self._parts[path]
        return largest_rounding(zip(self._exact.get(path, ()), recorded, strict=False))

    @cached_property
    def _exact(self) -> dict[str, list[np.ndarray]]:
        twin, found = float64_twin(self._module), dict[str, list[np.ndarray]]()

        def keep(path: str, _module: nn.Module, _inputs: object, output: object) -> None:
            found[path] = list(arrays_of(output))

        for path in self._parts:
            twin.get_submodule(path).register_forward_hook(partial(keep, path))
        arrays = [torch.from_numpy(array) for array in self.inputs.values()]
        with torch.inference_mode():
            twin(*(a.double() if a.is_floating_point() else a for a in arrays))
        return found
