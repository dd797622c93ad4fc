"""Which module introduces an error, and which only pass it on.

Two questions are asked of every module.  How far is its output from the reference's when
the whole export runs (the error so far)?  And how far when the module alone runs on the
reference's own inputs (its own error)?  The walk goes down from the root into whatever has an
error of its own; the deepest such module introduces it.  A module that a sound export has and
this one lacks is named when its parent goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from . import metrics
from .graph_modules import Border, GraphModules
from .trace import ModuleIO, Trace

# Float32 reordering inside one module measures up to 2e-7, inside a stack of them 6e-7; an
# RMSNorm eps ten times too large costs its module 4e-6.
OWN_ERROR_LIMIT = 1e-6
# A module may differ by this multiple of what the reference's own float32 rounding has become
# by there, as deep stacks of periodic activations amplify it.
NOISE_FACTOR = 3.0

ROOT = ""
MISSING = "missing in the export"
INTRODUCES = "introduces the error"
PASSES_ON = "passes it on"
SOUND = "agrees"


@dataclass(frozen=True)
class Finding:
    """One module.

    Attributes:
        path: of the module.
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
        model: the module as a graph of its own.
        inputs: arrays by its input names.
        outputs: what it gives.
        reference: what the reference's module gives.
    """

    model: ir.Model
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    reference: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Localisation:
    """Result of a walk.

    Attributes:
        findings: modules in the order in which the reference runs them.
        culprits: paths of the modules that introduce an error, the first one first.
        cut_out: the first culprit by itself, if it is there to be cut out.
    """

    findings: tuple[Finding, ...]
    culprits: tuple[str, ...]
    cut_out: LoneModule | None = None


@dataclass
class _Walk:
    reference: Trace
    graph: GraphModules
    values: Mapping[str, np.ndarray]
    actual: Trace
    noise: Mapping[str, float]
    expected: frozenset[str]
    own: dict[str, float] = field(default_factory=dict)
    culprits: dict[str, str] = field(default_factory=dict)


def localise(
    reference: Trace,
    graph: GraphModules,
    inputs: Mapping[str, np.ndarray],
    noise: Mapping[str, float],
    expected: frozenset[str],
) -> Localisation:
    """Walk both sides.

    Args:
        reference: what every module of the reference took and gave.
        graph: the export.
        inputs: the input both sides run on, by the graph's names.
        noise: the reference's own float32 rounding by module (`trace_noise`).
        expected: modules that a sound export has; others are folded into neighbours.
    """
    actual, values = graph.trace(inputs)
    walk = _Walk(reference, graph, values, actual, noise, expected)
    for path in reference.children(ROOT):
        _descend(walk, path)
    whole = distance(reference.modules[ROOT].outputs, actual.modules[ROOT].outputs)
    if not walk.culprits and whole > _limit(walk, ROOT):
        walk.culprits[ROOT] = INTRODUCES
    findings = tuple(
        _finding(walk, path) for path in reference.modules if path and path in actual.modules
    )
    missing = tuple(
        Finding(path, float("nan"), float("nan"), MISSING)
        for path, verdict in walk.culprits.items()
        if verdict == MISSING
    )
    order = list(reference.modules)
    ranked = sorted(walk.culprits, key=order.index)
    cut_out = _cut_out(walk, ranked[0]) if ranked else None
    return Localisation(findings + missing, tuple(ranked), cut_out)


def _descend(walk: _Walk, path: str) -> None:
    """Find the deepest modules at or below a path that have an error of their own."""
    own = _own_error(walk, path)
    walk.own[path] = own
    if own <= _limit(walk, path):
        return
    children = walk.reference.children(path)
    before = len(walk.culprits)
    for child in children:
        if child in walk.actual.modules:
            _descend(walk, child)
        elif child in walk.expected:
            walk.culprits[child] = MISSING
    if len(walk.culprits) == before:
        walk.culprits[path] = INTRODUCES


def _own_error(walk: _Walk, path: str) -> float:
    """Run a module on the reference's inputs and compare with the reference's outputs."""
    if path not in walk.actual.modules:
        return float("inf")
    io = walk.reference.modules[path]
    border = walk.graph.border(path)
    if any(name not in walk.values for name in (*border.inputs, *border.outputs)):
        return distance(io.outputs, walk.actual.modules[path].outputs)
    feeds = _feeds(walk, border, io)
    try:
        found = walk.graph.run(feeds, border.outputs)
    except Exception:  # ONNX Runtime's errors share no other base; a failing module is wrong
        return float("inf")
    return distance(io.outputs, [found[name] for name in border.outputs])


def _cut_out(walk: _Walk, path: str) -> LoneModule | None:
    if path not in walk.actual.modules:
        return None
    border, io = walk.graph.border(path), walk.reference.modules[path]
    if any(name not in walk.values for name in border.inputs):
        return None
    feeds = _feeds(walk, border, io)
    try:
        found = walk.graph.run(feeds, border.outputs)
    except Exception:  # ONNX Runtime's errors share no other base; nothing to record then
        return None
    outputs = {name: found[name] for name in border.outputs}
    return LoneModule(walk.graph.part(feeds, border.outputs), feeds, outputs, io.outputs)


def _feeds(walk: _Walk, border: Border, io: ModuleIO) -> dict[str, np.ndarray]:
    """Return what a module's border takes, the reference's arrays where they are known."""
    own = {name: walk.values[name] for name in border.inputs}
    return own | _matched(border.inputs, walk.values, io.inputs)


def _limit(walk: _Walk, path: str) -> float:
    return max(OWN_ERROR_LIMIT, NOISE_FACTOR * walk.noise.get(path, 0.0))


def _matched(
    names: Sequence[str], values: Mapping[str, np.ndarray], arrays: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """Pair values of the graph with the reference's, by shape and then by likeness.

    The exporter may have cancelled a transpose against a neighbour's, so the last two axes
    may come the other way round.
    """
    pairs: dict[str, np.ndarray] = {}
    floats = [name for name in names if values[name].dtype.kind == "f"]
    arrays = [array for array in arrays if array.dtype.kind == "f"]
    if len(floats) == len(arrays) == 1 and values[floats[0]].ndim == arrays[0].ndim:
        # Nothing else it could be, even if a defect before it changed its length.
        fitting = [f for f in _forms(arrays[0]) if f.shape == values[floats[0]].shape]
        return {floats[0]: fitting[0] if fitting else arrays[0]}
    for name in floats:
        fitting = [
            form
            for array in arrays
            for form in _forms(array)
            if form.shape == values[name].shape
        ]
        if fitting:
            pairs[name] = min(
                fitting, key=lambda form: _nan_last(metrics.relative_l2(form, values[name]))
            )  # fmt: skip
    return pairs


def distance(reference: Sequence[np.ndarray], export: Sequence[np.ndarray]) -> float:
    """Return the largest error over the outputs both sides have; infinite for none and NaN.

    An output of the reference that the export does not compute, because nothing uses it, is
    left out.  Of several values of the right shape the nearest counts.
    """
    errors = []
    for array in reference:
        fitting = [
            _nan_last(_error(form, value))
            for value in export
            for form in _forms(array)
            if form.shape == value.shape and form.dtype.kind == value.dtype.kind
        ]
        if fitting:
            errors.append(min(fitting))
    return max(errors, default=float("inf"))


def _error(reference: np.ndarray, export: np.ndarray) -> float:
    if reference.dtype.kind == "f":
        return metrics.relative_l2(reference, export)
    return float((reference != export).mean())


def _forms(array: np.ndarray) -> list[np.ndarray]:
    """Return the shapes in which the exporter may have left an array."""
    if array.ndim < 2:
        return [array]
    swapped = np.swapaxes(array, -1, -2)
    return [array, swapped, array[None], swapped[None], array[:, None]]


def _finding(walk: _Walk, path: str) -> Finding:
    io, actual = walk.reference.modules[path], walk.actual.modules[path]
    error = distance(io.outputs, actual.outputs)
    verdict = SOUND if error <= _limit(walk, path) else PASSES_ON
    return Finding(
        path, error, walk.own.get(path, float("nan")), walk.culprits.get(path, verdict)
    )


def _nan_last(value: float) -> float:
    return float("inf") if np.isnan(value) else value
