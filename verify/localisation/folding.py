"""Modules that an export folded into a neighbour, such as a batch norm into a convolution.

The node that is left carries one path of the two.  It takes what the first of them took and
gives what the last of them gave, and is compared with that.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np

from .source import ModuleIO

_Arrays = tuple[np.ndarray, ...]


def folded_forms(module: ModuleIO, absent: Mapping[str, ModuleIO]) -> Iterator[ModuleIO]:
    """Yield what a module does together with absent ones right before it and after it.

    Args:
        absent: modules without a node of their own, in the order in which they finished.
    """
    before = [(module.inputs, ()), *_chain(module.inputs, absent, backwards=True)]
    after = [(module.outputs, ()), *_chain(module.outputs, absent, backwards=False)]
    for inputs, folded in before:
        for outputs, others in after:
            if folded or others:
                parts = (module, *folded, *others)
                yield ModuleIO(inputs, outputs, partial(_rounding, parts))


def _chain(
    arrays: _Arrays, absent: Mapping[str, ModuleIO], *, backwards: bool
) -> Iterator[tuple[_Arrays, tuple[ModuleIO, ...]]]:
    """Yield what there is one absent module further away, and those passed on the way."""
    left = list(absent.values())[:: -1 if backwards else 1]
    passed: tuple[ModuleIO, ...] = ()
    while True:
        for part in left:
            near, far = part.outputs, part.inputs
            if not backwards:
                near, far = far, near
            rest = tuple(a for a in arrays if not any(_same(a, b) for b in near))
            if len(rest) < len(arrays):
                break
        else:
            return
        left = [other for other in left if other is not part]
        passed += (part,)
        arrays = (*rest, *far)
        yield arrays, passed


def _rounding(parts: tuple[ModuleIO, ...]) -> float:
    return sum(part.rounding() for part in parts if part.rounding is not None)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype.kind == "f" and a.dtype == b.dtype and np.array_equal(a, b)
