"""Which module introduces an error, and which only pass it on.

Two questions are asked of every module.  How far is its output from the reference's when
the whole export runs (the error so far)?  And how far when the module alone runs on the
reference's own inputs (its own error)?  The walk goes stage by stage, down into whatever has
an error of its own; the deepest such module introduces it.  A module that a sound export has
and this one lacks is named when the module around it goes wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from vampnet_onnx.verify.numbers import metrics

from .graph import Border, GraphModules
from .lane import Lane, border_values
from .torch_source import ROOT, ModuleIO, Source, Trace, children_of, is_below

# Float32 reordering inside one module measures up to 2e-7, inside a stack of them 6e-7; an
# RMSNorm eps ten times too large costs its module 4e-6.
OWN_ERROR_LIMIT = 1e-6
# A module may differ by this multiple of its own float32 rounding on the same inputs, where
# that is larger: a stack of periodic activations amplifies it.
NOISE_FACTOR = 3.0
# Ten times what the gates allow for rounding at most; beyond it none is measured.
BEYOND_ROUNDING = 1e-3
# Where the rounding cannot be measured (two graphs), for a module with others inside.  Twenty
# layers reorder up to 2.4e-6; a module lost or wired wrongly costs 1e-4 and more.
UNMEASURED_STACK_LIMIT = 1e-5

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


def localise(source: Source, graph: GraphModules) -> Localisation:
    """Walk both sides.

    Args:
        source: what is taken as right, with the input both sides run on.
        graph: the export.
    """
    walk = _Walk(source, graph)
    source.stream(walk.visit)
    return walk.result()


class _Walk:
    """Compares stage by stage; what a stage computed is let go with it."""

    def __init__(self, source: Source, graph: GraphModules) -> None:
        self._source, self._graph = source, graph
        self._known = frozenset(graph.paths)
        self._lane = Lane(graph, source.inputs, border_values(graph, source.stages))
        self._values: dict[str, np.ndarray] = {}
        self._errors: dict[str, float] = {}
        self._own: dict[str, float] = {}
        self._order: list[str] = []
        self._culprits: dict[str, str] = {}
        self._cut_out: tuple[str, LoneModule | None] | None = None

    def visit(self, trace: Trace) -> None:
        """Compare the modules that finished with those of the graph."""
        borders = [self._graph.border(path) for path in trace.modules if path in self._known]
        names = [name for b in borders for name in (*b.inputs, *b.outputs)]
        self._values = self._lane.reach(names)
        self._order += trace.modules
        for path, io in trace.modules.items():
            if path in self._known:
                self._errors[path] = distance(io.outputs, self._made(path))
        inside = [path for path in trace.modules if path != ROOT and self._in_a_stage(path)]
        for path in inside:
            if not any(is_below(path, other) for other in inside):
                self._descend(trace, path)
        for path in trace.modules:
            if path not in inside:
                self._judge_container(trace, path)

    def result(self) -> Localisation:
        """Return what was found."""
        ranked = tuple(sorted(self._culprits, key=self._order.index))
        missing = tuple(
            Finding(path, float("nan"), float("nan"), MISSING)
            for path in ranked
            if self._culprits[path] == MISSING
        )
        first = self._cut_out if self._cut_out and ranked[0] == self._cut_out[0] else None
        findings = tuple(self._finding(path, ranked) for path in self._errors if path)
        return Localisation(findings + missing, ranked, first[1] if first else None)

    def _descend(self, trace: Trace, path: str) -> None:
        """Find the deepest modules at or below a path that have an error of their own."""
        if path not in self._known:
            return  # its container tells whether it is missed
        own = self._own[path] = self._own_error(trace, path)
        if self._within_rounding(trace, path, own):
            return
        before = len(self._culprits)
        for child in trace.children(path):
            if child in self._known:
                self._descend(trace, child)
            elif child in self._source.expected:
                self._culprits[child] = MISSING
        if len(self._culprits) == before:
            self._blame(trace, path)

    def _judge_container(self, trace: Trace, path: str) -> None:
        """Find out whether modules that are right by themselves are put together wrongly."""
        if path not in self._known or self._errors[path] <= OWN_ERROR_LIMIT:
            return
        if any(is_below(culprit, path) for culprit in self._culprits):
            return
        own = self._errors[path] if path == ROOT else self._own_error(trace, path)
        self._own[path] = own
        if self._within_rounding(trace, path, own):
            return
        absent = [
            child
            for child in children_of(path, self._order)
            if child not in self._known and child in self._source.expected
        ]
        self._culprits |= dict.fromkeys(absent, MISSING)
        if not absent:
            self._blame(trace, path)

    def _blame(self, trace: Trace, path: str) -> None:
        self._culprits[path] = INTRODUCES
        if self._cut_out is None:
            self._cut_out = (path, self._cut(path, trace.modules[path]))

    def _own_error(self, trace: Trace, path: str) -> float:
        """Run a module on the reference's inputs and compare with the reference's outputs."""
        io, border = trace.modules[path], self._graph.border(path)
        if any(name not in self._values for name in (*border.inputs, *border.outputs)):
            return distance(io.outputs, self._made(path))
        found = self._run(path, self._feeds(border, io))
        if any(name not in found for name in border.outputs):
            return float("inf")  # a module that does not run is wrong
        return distance(io.outputs, [found[name] for name in border.outputs])

    def _run(self, path: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run a module by itself, stage by stage if it holds several."""
        lane = Lane(self._graph, feeds)
        for stage in self._source.stages:
            if is_below(stage, path) and stage in self._known:
                lane.reach(self._graph.border(stage).outputs)
        return lane.reach(self._graph.border(path).outputs)

    def _cut(self, path: str, io: ModuleIO) -> LoneModule | None:
        border = self._graph.border(path)
        if any(name not in self._values for name in border.inputs):
            return None
        feeds = self._feeds(border, io)
        found = self._run(path, feeds)
        if any(name not in found for name in border.outputs):
            return None
        return LoneModule(self._graph.part(feeds, border.outputs), feeds, found, io.outputs)

    def _feeds(self, border: Border, io: ModuleIO) -> dict[str, np.ndarray]:
        """Return what to run a module on: the reference's arrays where they are known.

        What the graph makes of those on the way into the module (two norms of one value share
        its square) is computed from them; what comes from elsewhere is the graph's own.
        """
        given = _matched(border.inputs, self._values, io.inputs)
        return given | {
            name: self._values[name]
            for name in border.inputs
            if name not in given and not self._graph.follows_from(name, given)
        }

    def _made(self, path: str) -> list[np.ndarray]:
        names = self._graph.border(path).outputs
        return [self._values[name] for name in names if name in self._values]

    def _within_rounding(self, trace: Trace, path: str, own: float) -> bool:
        """Return whether float32 alone explains an error; measured only where it matters."""
        if own <= OWN_ERROR_LIMIT or not own <= BEYOND_ROUNDING:
            return own <= OWN_ERROR_LIMIT
        if path not in trace.measures:
            stack = any(is_below(other, path) for other in self._order)
            return stack and own <= UNMEASURED_STACK_LIMIT
        return own <= NOISE_FACTOR * trace.rounding(path)

    def _in_a_stage(self, path: str) -> bool:
        return any(path == s or is_below(path, s) for s in self._source.stages)

    def _finding(self, path: str, ranked: Sequence[str]) -> Finding:
        error, own = self._errors[path], self._own.get(path, float("nan"))
        at = self._order.index(path)
        # With nothing wrong at or before it, what it differs by is rounding that added up.
        after = any(self._order.index(c) <= at or is_below(path, c) for c in ranked)
        verdict = PASSES_ON if after and not error <= OWN_ERROR_LIMIT else SOUND
        return Finding(path, error, own, self._culprits.get(path, verdict))


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
        fitting = _fitting(arrays[0], values[floats[0]].shape)
        return {floats[0]: fitting[0] if fitting else arrays[0]}
    for name in floats:
        fitting = [form for array in arrays for form in _fitting(array, values[name].shape)]
        if fitting:
            pairs[name] = min(
                fitting, key=lambda form: _nan_last(metrics.relative_l2(form, values[name]))
            )
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
            if array.dtype.kind == value.dtype.kind
            for form in _fitting(array, value.shape)
        ]
        if fitting:
            errors.append(min(fitting))
    return max(errors, default=float("inf"))


def _error(reference: np.ndarray, export: np.ndarray) -> float:
    if reference.dtype.kind == "f":
        return metrics.relative_l2(reference, export)
    return float((reference != export).mean())


def _fitting(array: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return the forms of a shape in which the exporter may have left an array.

    The last two axes are taken the other way round only where they do not fit as they are:
    what is square and transposed is wrong.
    """
    if array.ndim < 2:
        return [array] if array.shape == shape else []
    swapped = np.swapaxes(array, -1, -2)
    straight = [f for f in (array, array[None], array[:, None]) if f.shape == shape]
    return straight or [f for f in (swapped, swapped[None]) if f.shape == shape]


def _nan_last(value: float) -> float:
    return float("inf") if np.isnan(value) else value
