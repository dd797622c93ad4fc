"""What a walk finds: how far off each module is, and which ones introduce the error.

How far arrays of two sides are apart is asked where nothing but shape and likeness pairs them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from vampnet_onnx.verify.numbers.metrics import relative_l2

from .graph import GraphModules
from .partial_run import run_alone

# Float32 reordering inside one module measures up to 2e-7, inside a stack of them 6e-7; an
# RMSNorm eps ten times too large costs its module 4e-6.
OWN_ERROR_LIMIT = 1e-6

MISSING = "missing in the export"
INTRODUCES = "introduces the error"
PASSES_ON = "passes it on"
SOUND = "agrees"


@dataclass(frozen=True)
class ModuleFinding:
    """One module.

    Attributes:
        error: relative L2 of its output when the whole export runs; NaN if not comparable.
        own_error: the same on the reference's inputs; NaN where it was not tried.
        verdict: one of the constants of this module.
    """

    path: str
    error: float
    own_error: float
    verdict: str


@dataclass(frozen=True)
class LoneModule:
    """A module cut out of a graph, with the reference's inputs.

    Attributes:
        path: of the module.
        inputs: arrays by its input names.
        reference: what the reference's module gives.
    """

    path: str
    model: ir.Model
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    reference: tuple[np.ndarray, ...]

    @property
    def error(self) -> float:
        """Relative L2 of what it gives."""
        return distance(self.reference, list(self.outputs.values()))


@dataclass(frozen=True)
class Localisation:
    """Result of a walk.

    Attributes:
        findings: modules in the order in which the reference runs them.
        culprits: paths of the modules that introduce an error, the first one first.
        cut_out: the first culprit that is there to be cut out, by itself.
    """

    findings: tuple[ModuleFinding, ...]
    culprits: tuple[str, ...]
    cut_out: LoneModule | None = None


def cut_out(
    graph: GraphModules,
    path: str,
    inputs: Mapping[str, np.ndarray] | None,
    reference: tuple[np.ndarray, ...],
    stages: Sequence[str] = (),
) -> LoneModule | None:
    """Cut a module out of a graph and run it; None if it does not run, gives or gets nothing.

    Args as of `run_alone`, and what the reference's module gives.
    """
    outputs = None if inputs is None else run_alone(graph, path, inputs, stages)
    if inputs is None or not outputs:
        return None
    model = graph.part(inputs, graph.borders[path].outputs)
    return LoneModule(path, model, inputs, outputs, reference)


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
    """Pair float values of the graph with the reference's: by shape, type and likeness."""
    pairs: dict[str, np.ndarray] = {}
    floats = [name for name in names if values[name].dtype.kind == "f"]
    arrays = [array for array in arrays if array.dtype.kind == "f"]
    if len(floats) == len(arrays) == 1 and values[floats[0]].ndim == arrays[0].ndim:
        # Nothing else it could be, even if a defect before it changed its length.
        return {floats[0]: (forms_of(arrays[0], values[floats[0]].shape) or arrays)[0]}
    for name in floats:
        value = values[name]
        fitting = [form for array in arrays for form in forms_of(array, value.shape)]
        # A scalar in float64 may equal another in float32, which its module does not take.
        fitting = [form for form in fitting if form.dtype == value.dtype] or fitting
        if fitting:
            pairs[name] = min(fitting, key=partial(_error, export=value))
    return pairs


def reference_feeds(
    graph: GraphModules,
    path: str,
    values: Mapping[str, np.ndarray],
    inputs: Sequence[np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what to run a module on: the reference's arrays where they are known.

    What the graph makes of those on the way into the module (two norms of one value share
    its square) is computed from them; what comes from elsewhere is the graph's own.

    Args:
        values: of the graph, all that enter the module by name.
        inputs: of the reference's module.

    Returns:
        What is the reference's own, and all there is to feed; both by name.
    """
    names = graph.borders[path].inputs
    given = likest(names, values, inputs)
    own = {
        name: values[name]
        for name in names
        if name not in given and not graph.follows_from(name, given)
    }
    return given, given | own


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
    if np.isnan(error):  # the same infinities on both sides, as a mask has, are no error
        same = np.isinf(reference) & (reference == export)
        error = relative_l2(np.where(same, 0, reference), np.where(same, 0, export))
    return float("inf") if np.isnan(error) else error
