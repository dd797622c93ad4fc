"""What every module took and gave on one input: the thing localisation compares.

A trace comes from PyTorch (`TorchSource`), by watching modules as they run, from a graph
(`verify.localisation.lane`), by the module path its nodes carry, or from a recorded set
(`verify.localisation.recorded_source`).  All speak of modules by the same published paths.

Traces are handed over a *stage* at a time, a stage being a module with a bounded amount of
weights: at released size one transformer layer.  What a stage computed inside is let go before
the next one runs, so no walk holds the activations of a whole model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vampnet_onnx.export.components.component import sharing_copy
from vampnet_onnx.verify.numbers.metrics import relative_l2

from .float64 import float64_twin

ROOT = ""

# Weights of one stage: a transformer layer of released size has 66 MB, the largest block of
# the codec's decoder 60 MB.
STAGE_BYTES = 1 << 27

# Containers that are never called themselves.
_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterDict, nn.ParameterList)


@dataclass(frozen=True)
class ModuleIO:
    """Arrays that went into a module and came out of it, in call order."""

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]


@dataclass
class Trace:
    """Modules by path, in the order in which they finished.

    A module called more than once is absent: its calls cannot be told apart by path.

    Attributes:
        modules: arrays by path.
        measures: by path, what measures the float32 rounding of a module by itself.
    """

    modules: dict[str, ModuleIO] = field(default_factory=dict)
    measures: dict[str, Callable[[], float]] = field(default_factory=dict)

    def children(self, path: str) -> list[str]:
        """Return the nearest traced descendants of a path, the root's for an empty one."""
        return children_of(path, self.modules)

    def rounding(self, path: str) -> float:
        """Return a module's own float32 rounding as relative L2; 0 where it is unknown."""
        measure = self.measures.get(path)
        return measure() if measure is not None else 0.0


Visit = Callable[[Trace], None]


class Source(Protocol):
    """The side of a walk that is taken as right.

    Attributes:
        inputs: of the whole, by the names of the graph's inputs.
        stages: paths of its stages.
        expected: modules that a sound export has; others are folded into neighbours.  Found
            when first asked for.
    """

    @property
    def inputs(self) -> Mapping[str, np.ndarray]: ...  # noqa: D102
    @property
    def stages(self) -> list[str]: ...  # noqa: D102
    @property
    def expected(self) -> frozenset[str]: ...  # noqa: D102

    def stream(self, visit: Visit) -> None:
        """Run, and hand over the modules that finished since the last time, stage by stage."""


class TorchSource:
    """An entry module (of `export.components`) without any pass applied, on one input."""

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

    @cached_property
    def expected(self) -> frozenset[str]:
        """Modules that a sound export has."""
        return self._find_expected()

    def stream(self, visit: Visit) -> None:
        """Run the module, watching every part of it."""
        watched = sharing_copy(self._module)
        state = _Watch(self._module, frozenset(self.stages), visit)
        for path, part in watched.named_modules():
            part.register_forward_hook(partial(state.keep, path))
        with torch.inference_mode():
            watched(*(torch.from_numpy(array) for array in self.inputs.values()))
            state.hand_over()


class _Watch:
    """Collects what finished since the last stage."""

    def __init__(self, sound: nn.Module, stages: frozenset[str], visit: Visit) -> None:
        self._sound, self._stages, self._visit = sound, stages, visit
        self._trace, self._seen = Trace(), set[str]()

    def keep(self, path: str, _module: nn.Module, inputs: Any, output: object) -> None:
        """Take a module that finished."""
        if path in self._seen:
            self._trace.modules.pop(path, None)
            self._trace.measures.pop(path, None)
        else:
            self._seen.add(path)
            part = self._sound.get_submodule(path)
            self._trace.modules[path] = ModuleIO(
                tuple(_arrays(inputs)), tuple(_arrays(output))
            )
            self._trace.measures[path] = partial(own_rounding, part, inputs)
        if path in self._stages:
            self.hand_over()

    def hand_over(self) -> None:
        """Give what there is to the visitor and let go of it."""
        if self._trace.modules:
            trace, self._trace = self._trace, Trace()
            self._visit(trace)


def own_rounding(module: nn.Module, arguments: tuple[Any, ...]) -> float:
    """Return how far a module's float32 outputs are from its float64 ones on one input.

    Args:
        module: without hooks.
        arguments: what it is called with; float tensors are widened.

    Returns:
        The largest relative L2 of its float outputs; infinities and NaN count as no rounding.
    """
    wide = [
        a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments
    ]
    with torch.inference_mode():
        exact, own = float64_twin(module)(*wide), module(*arguments)
    errors = [
        relative_l2(e, o)
        for e, o in zip(_arrays(exact), _arrays(own), strict=True)
        if o.dtype.kind == "f"
    ]
    return max((e for e in errors if np.isfinite(e)), default=0.0)


def stages_of(sizes: Mapping[str, int]) -> list[str]:
    """Return the shallowest paths of bounded weight, or that have nothing inside.

    Args:
        sizes: bytes of weights at or below each path, the root's under the empty one.
    """

    def is_stage(path: str) -> bool:
        return sizes[path] <= STAGE_BYTES or not any(is_below(p, path) for p in sizes)

    found = [path for path in sizes if is_stage(path)]
    return [path for path in found if not any(is_below(path, other) for other in found)]


def children_of(path: str, paths: Iterable[str]) -> list[str]:
    """Return the nearest of some paths below one, the root's for an empty one."""
    inside = [p for p in paths if is_below(p, path)]
    return [p for p in inside if not any(is_below(p, q) for q in inside)]


def is_below(path: str, outer: str) -> bool:
    """Return whether a path lies within another and is not that itself."""
    return path != outer and (not outer or path.startswith(outer + "."))


def _arrays(value: object) -> Iterator[np.ndarray]:
    if isinstance(value, Tensor):
        yield value.numpy()
    elif isinstance(value, Iterable):
        for item in value:
            yield from _arrays(item)
