"""What every module took and gave on one input: the thing localisation compares.

A trace comes from PyTorch (`trace_module`), by watching modules as they run, or from a graph
(`verify.graph_modules`), by the module path its nodes carry.  Both speak of modules by the
same published paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from .metrics import relative_l2


@dataclass(frozen=True)
class ModuleIO:
    """Arrays that went into a module and came out of it, in call order."""

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]


@dataclass
class Trace:
    """Modules by path, in the order in which they finished.

    A module called more than once is absent: its calls cannot be told apart by path.
    """

    modules: dict[str, ModuleIO] = field(default_factory=dict)

    def children(self, path: str) -> list[str]:
        """Return the nearest traced descendants of a path, the root's for an empty one."""
        inside = [p for p in self.modules if p != path and _is_inside(p, path)]
        return [p for p in inside if not any(q != p and _is_inside(p, q) for q in inside)]


def trace_module(module: nn.Module, inputs: Mapping[str, np.ndarray]) -> Trace:
    """Run a module and keep what each of its descendants took and gave.

    Args:
        module: an entry module (`export.entries`) without any pass applied.
        inputs: its arrays, in the order of its arguments.
    """
    trace, seen = Trace(), set[str]()
    hooks = [
        child.register_forward_hook(partial(_keep, trace, seen, path), with_kwargs=False)
        for path, child in module.named_modules()
    ]
    try:
        dtype = next(module.parameters()).dtype
        with torch.inference_mode():
            module(*(_tensor(array, dtype) for array in inputs.values()))
    finally:
        for hook in hooks:
            hook.remove()
    return trace


def trace_noise(single: Trace, double: Trace) -> dict[str, float]:
    """Return each module's float32 rounding: relative L2 of its outputs from float64 ones.

    Args:
        single: traced in float32.
        double: the same module in float64 on the same input.
    """
    noise = {}
    for path, io in single.modules.items():
        other = double.modules.get(path)
        pairs = zip(io.outputs, other.outputs, strict=True) if other else ()
        errors = [relative_l2(exact, own) for own, exact in pairs if own.dtype.kind == "f"]
        noise[path] = max((e for e in errors if np.isfinite(e)), default=0.0)
    return noise


def _keep(
    trace: Trace, seen: set[str], path: str, _module: nn.Module, inputs: object, output: object
) -> None:
    if path in seen:
        trace.modules.pop(path, None)
        return
    seen.add(path)
    trace.modules[path] = ModuleIO(tuple(_arrays(inputs)), tuple(_arrays(output)))


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _arrays(value: object) -> Iterator[np.ndarray]:
    if isinstance(value, Tensor):
        yield value.numpy().copy()
    elif isinstance(value, Iterable):
        for item in value:
            yield from _arrays(item)


def _is_inside(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith(outer + ".")
