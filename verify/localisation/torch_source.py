"""PyTorch as the side of a walk that is taken as right: modules watched as they run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vampnet_onnx.export.components.component import sharing_copy
from vampnet_onnx.verify.numbers.metrics import relative_l2

from .float64 import float64_twin
from .source import ModuleIO, Source, Trace, Visit, stages_of

# Containers that are never called themselves.
_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterDict, nn.ParameterList)


class TorchSource(Source):
    """An entry module (`export.components.entries`) without any pass applied, on one input."""

    def __init__(
        self,
        module: nn.Module,
        inputs: Mapping[str, np.ndarray],
        find_expected: Callable[[], frozenset[str]],
    ) -> None:
        """Take a module.

        Args:
            module: in float32, without hooks.
            inputs: its arrays, in the order of its arguments.
            find_expected: finds the modules that a sound export has.
        """
        self.inputs = inputs
        self._find_expected = find_expected
        self._module = module
        self.stages = stages_of(
            {
                path: sum(p.nbytes for p in part.parameters())
                for path, part in module.named_modules()
                if not isinstance(part, _NEVER_CALLED)
            }
        )

    def expected(self) -> frozenset[str]:
        """Find the modules that a sound export has."""
        return self._find_expected()

    def stream(self, visit: Visit) -> None:
        """Run the module, watching every part of it."""
        trace, seen = Trace(), set[str]()

        def hand_over() -> None:
            if trace:
                visit(dict(trace))
                trace.clear()

        def keep(path: str, _watched: nn.Module, inputs: Any, output: object) -> None:
            if path in seen:
                trace.pop(path, None)
            else:
                seen.add(path)
                measure = partial(own_rounding, self._module.get_submodule(path), inputs)
                given, made = tuple(arrays_of(inputs)), tuple(arrays_of(output))
                trace[path] = ModuleIO(given, made, measure)
            if path in self.stages:
                hand_over()

        watched = sharing_copy(self._module)
        for path, part in watched.named_modules():
            part.register_forward_hook(partial(keep, path))
        with torch.inference_mode():
            watched(*(torch.from_numpy(array) for array in self.inputs.values()))
            hand_over()


def own_rounding(module: nn.Module, arguments: tuple[Any, ...]) -> float:
    """Return how far a module's float32 outputs are from its float64 ones on one input.

    Args:
        module: without hooks.
        arguments: what it is called with; float tensors are widened.
    """
    wide = [
        a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments
    ]
    with torch.inference_mode():
        exact, own = float64_twin(module)(*wide), module(*arguments)
    return largest_rounding(zip(arrays_of(exact), arrays_of(own), strict=True))


def largest_rounding(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the largest relative L2 of float arrays from their float64 ones.

    Infinities and NaN count as no rounding.
    """
    errors = [
        relative_l2(exact, own)
        for exact, own in pairs
        if own.dtype.kind == "f" and own.shape == exact.shape
    ]
    return max((error for error in errors if np.isfinite(error)), default=0.0)


def arrays_of(value: object) -> Iterator[np.ndarray]:
    """Yield the tensors in what a module takes or gives, as arrays."""
    if isinstance(value, Tensor):
        yield value.numpy()
    elif isinstance(value, Iterable):
        for item in value:
            yield from arrays_of(item)
