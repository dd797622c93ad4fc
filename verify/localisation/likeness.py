"""How far arrays of two sides are apart, when nothing but shape and likeness pairs them."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from vampnet_onnx.verify.numbers.metrics import relative_l2


def distance(reference: Sequence[np.ndarray], export: Sequence[np.ndarray]) -> float:
    """Return the largest error over the outputs both sides have; infinite for none and NaN.

    An output of the reference that the export does not compute, because nothing uses it, is
    left out.  Of several values of the right shape the nearest counts.
    """
    errors = []
    for array in reference:
        fitting = [
            _error(form, value)
            for value in export
            if array.dtype.kind == value.dtype.kind
            for form in forms_of(array, value.shape)
        ]
        if fitting:
            errors.append(min(fitting))
    return max(errors, default=float("inf"))


def likest(
    names: Sequence[str], values: Mapping[str, np.ndarray], arrays: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Pair float values of the graph with the reference's, by shape and then by likeness."""
    pairs: dict[str, np.ndarray] = {}
    floats = [name for name in names if values[name].dtype.kind == "f"]
    arrays = [array for array in arrays if array.dtype.kind == "f"]
    if len(floats) == len(arrays) == 1 and values[floats[0]].ndim == arrays[0].ndim:
        # Nothing else it could be, even if a defect before it changed its length.
        return {floats[0]: (forms_of(arrays[0], values[floats[0]].shape) or arrays)[0]}
    for name in floats:
        value = values[name]
        fitting = [form for array in arrays for form in forms_of(array, value.shape)]
        if fitting:
            pairs[name] = min(fitting, key=partial(_error, export=value))
    return pairs


def forms_of(array: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the forms of a shape in which the exporter may have left an array.

    It may have cancelled a transpose against a neighbour's, so the last two axes may come the
    other way round.  They are taken so only where they do not fit as they are: what is square
    and transposed is wrong.
    """
    if array.ndim < 2:
        return [array] if array.shape == shape else []
    swapped = np.swapaxes(array, -1, -2)
    straight = [f for f in (array, array[None], array[:, None]) if f.shape == shape]
    return straight or [f for f in (swapped, swapped[None]) if f.shape == shape]


def _error(reference: np.ndarray, export: np.ndarray) -> float:
    if reference.dtype.kind != "f":
        return float((reference != export).mean())
    error = relative_l2(reference, export)
    return float("inf") if np.isnan(error) else error
