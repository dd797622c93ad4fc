"""Which module introduces an error, and which only pass it on.

Two questions are asked of every module.  How far is its output from the reference's when
the whole export runs (the error so far)?  And how far when the module alone runs on the
reference's own inputs (its own error)?  The walk goes stage by stage, down into whatever has
an error of its own; the deepest such module introduces it.  A module that a sound export has
and this one lacks is named when the module around it goes wrong.

Two graphs built by this tool name their values alike, so a scope of one runs on the values of
the other by name, whatever their types.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from vampnet_onnx.verify.numbers.metrics import relative_l2

from .culprit import (
    INTRODUCES,
    MISSING,
    OWN_ERROR_LIMIT,
    PASSES_ON,
    SOUND,
    Localisation,
    LoneModule,
    ModuleFinding,
    cut_out,
    distance,
    reference_feeds,
)
from .folding import folded_forms
from .graph import GraphModules, is_below, is_within
from .partial_run import PartialRun, run_alone, run_in_stages
from .source import ROOT, GraphSource, ModuleIO, Source, Trace, children_of

# A module may differ by this multiple of its own float32 rounding on the same inputs, where
# that is larger: a stack of periodic activations amplifies it.
ROUNDING_FACTOR = 3.0
# Ten times what the gates allow for rounding at most; beyond it none is measured.
BEYOND_ROUNDING = 1e-3
# Where the rounding cannot be measured (two graphs), for a module with others inside.  Twenty
# layers reorder up to 2.4e-6; a module lost or wired wrongly costs 1e-4 and more.
UNMEASURED_STACK_LIMIT = 1e-5

# An error inside of a module that is right: a norm after it takes a shift away, a softmax what
# all keys share.  Rounding adds up to 2e-5 in sound exports of the golden sets.
HIDDEN = 1e-4

_Arrays = Mapping[str, np.ndarray]


def localise(source: Source, graph: GraphModules) -> Localisation:
    """Walk an export beside what is taken as right."""
    if isinstance(source, GraphSource) and source.same_names:
        return _localise_built(source, graph)
    walk = _Walk(source, graph)
    source.stream(walk.visit)
    return walk.result()


class _Walk:
    """Compares stage by stage; what a stage computed is let go with it."""

    def __init__(self, source: Source, graph: GraphModules) -> None:
        self._source, self._graph = source, graph
        self._run = run_in_stages(graph, source.inputs, source.stages)
        self._trace: Trace = {}
        self._values: dict[str, np.ndarray] = {}
        self._errors: dict[str, float] = {}
        self._own: dict[str, float] = {}
        self._order: list[str] = []
        self._culprits: dict[str, str] = {}
        self._cut_out: LoneModule | None = None

    @cached_property
    def _expected(self) -> frozenset[str]:
        return self._source.expected()

    def visit(self, trace: Trace) -> None:
        """Compare the modules that finished with those of the graph."""
        known = [path for path in trace if path in self._graph.borders]
        self._values = self._run.reach(self._graph.border_values(known))
        self._trace = trace
        self._order += trace
        for path in known:
            self._errors[path] = distance(trace[path].outputs, self._made(path))
        stages = self._source.stages
        inside = [path for path in trace if path != ROOT and is_within(path, stages)]
        for path in inside:
            if not any(is_below(path, other) for other in inside):
                self._descend(path)
        for path in known:
            if path not in inside:
                self._judge_container(path)

    def result(self) -> Localisation:
        """Return what was found."""
        ranked = tuple(sorted(self._culprits, key=self._order.index))
        findings = [self._finding(path, ranked) for path in self._errors if path]
        nan = float("nan")
        findings += [
            ModuleFinding(path, nan, nan, MISSING)
            for path in ranked
            if self._culprits[path] == MISSING
        ]
        return Localisation(tuple(findings), ranked, self._cut_out)

    def _descend(self, path: str) -> None:
        """Find the deepest modules at or below a path that have an error of their own."""
        if path not in self._graph.borders:
            return  # its container tells whether it is missed
        self._own[path] = self._own_error(path, self._trace[path])
        if self._within_rounding(path) or self._right_with_folded(path):
            for child in children_of(path, self._trace):
                if self._errors.get(child, 0.0) > HIDDEN:
                    self._descend(child)
            return
        before = len(self._culprits)
        for child in children_of(path, self._trace):
            if child in self._graph.borders:
                self._descend(child)
            elif child in self._expected:
                self._culprits[child] = MISSING
        if len(self._culprits) == before:
            self._blame(path)

    def _judge_container(self, path: str) -> None:
        """Find out whether modules that are right by themselves are put together wrongly."""
        if self._errors[path] <= OWN_ERROR_LIMIT:
            return
        if any(is_below(culprit, path) for culprit in self._culprits):
            return
        trace = self._trace[path]
        self._own[path] = self._errors[path] if path == ROOT else self._own_error(path, trace)
        if self._within_rounding(path) or self._right_with_folded(path):
            return
        absent = [
            child
            for child in children_of(path, self._order)
            if child not in self._graph.borders and child in self._expected
        ]
        self._culprits |= dict.fromkeys(absent, MISSING)
        if not absent:
            self._blame(path)

    def _right_with_folded(self, path: str) -> bool:
        """Return whether a module is right together with what was folded into it.

        It counts as what it comes nearest to from then on.
        """
        if not self._source.folds or path == ROOT:
            return False
        absent = {
            other: io
            for other, io in self._trace.items()
            if other not in self._graph.borders and other not in self._expected
        }
        for form in folded_forms(self._trace[path], absent):
            own = self._own_error(path, form)
            if own < self._own[path]:
                self._trace[path], self._own[path] = form, own
                self._errors[path] = distance(form.outputs, self._made(path))
                if self._within_rounding(path):
                    return True
        return False

    def _blame(self, path: str) -> None:
        self._culprits[path] = INTRODUCES
        kept = self._cut_out
        if kept is not None and self._order.index(kept.path) <= self._order.index(path):
            return
        feeds, wanted = self._feeds(path, self._trace[path]), self._trace[path].outputs
        stages = self._source.stages
        self._cut_out = cut_out(self._graph, path, feeds, wanted, stages) or kept

    def _own_error(self, path: str, right: ModuleIO) -> float:
        """Run a module on the reference's inputs and compare with the reference's outputs."""
        wanted, feeds = right.outputs, self._feeds(path, right)
        if feeds is None or any(
            n not in self._values for n in self._graph.borders[path].outputs
        ):
            return distance(wanted, self._made(path))
        found = run_alone(self._graph, path, feeds, self._source.stages)
        # A module that does not run is wrong.
        return float("inf") if found is None else distance(wanted, list(found.values()))

    def _feeds(self, path: str, right: ModuleIO) -> dict[str, np.ndarray] | None:
        """Return what to run a module on; None where the graph did not reach it."""
        names = self._graph.borders[path].inputs
        if any(name not in self._values for name in names):
            return None
        return reference_feeds(self._graph, path, self._values, right.inputs)[1]

    def _made(self, path: str) -> list[np.ndarray]:
        names = self._graph.borders[path].outputs
        return [self._values[name] for name in names if name in self._values]

    def _within_rounding(self, path: str) -> bool:
        """Return whether float32 alone explains an error; measured only where it matters."""
        own, measure = self._own[path], self._trace[path].rounding
        if own <= OWN_ERROR_LIMIT or not own <= BEYOND_ROUNDING:
            return own <= OWN_ERROR_LIMIT
        if measure is None:
            stack = any(is_below(other, path) for other in self._order)
            return stack and own <= UNMEASURED_STACK_LIMIT
        return own <= ROUNDING_FACTOR * measure()

    def _finding(self, path: str, ranked: Sequence[str]) -> ModuleFinding:
        error, own = self._errors[path], self._own.get(path, float("nan"))
        at = self._order.index(path)
        # With nothing wrong at or before it, what it differs by is rounding that added up.
        after = any(self._order.index(c) <= at or is_below(path, c) for c in ranked)
        verdict = PASSES_ON if after and not error <= OWN_ERROR_LIMIT else SOUND
        return ModuleFinding(path, error, own, self._culprits.get(path, verdict))


def _localise_built(sound: GraphSource, graph: GraphModules) -> Localisation:
    """Find the scopes in which a graph departs from a sound one, built now."""
    right = _border_values(sound.graph, sound.inputs)
    made = _border_values(graph, sound.inputs)
    paths = [path for path in graph.paths if path in sound.graph.borders]
    errors = {
        path: _distance(right, {n: made[n] for n in graph.borders[path].outputs if n in made})
        for path in paths
    }
    own = {path: _own_error(graph, path, right) for path in paths if path != ROOT}
    wrong = [path for path, error in own.items() if not error <= OWN_ERROR_LIMIT]
    # A scope with a culprit inside passes on what that one introduces.
    culprits = [path for path in wrong if not any(is_below(other, path) for other in wrong)]
    if not culprits and errors[ROOT] > OWN_ERROR_LIMIT:
        culprits = [ROOT]
    verdicts = {p: SOUND if errors[p] <= OWN_ERROR_LIMIT else PASSES_ON for p in own}
    verdicts |= dict.fromkeys(culprits, INTRODUCES)
    findings = [ModuleFinding(p, errors[p], error, verdicts[p]) for p, error in own.items()]
    cut = (_cut_out(graph, path, right) for path in culprits)
    first = next((module for module in cut if module is not None), None)
    return Localisation(tuple(findings), tuple(culprits), first)


def _border_values(graph: GraphModules, inputs: _Arrays) -> dict[str, np.ndarray]:
    return PartialRun(graph, inputs).reach(graph.border_values(graph.paths))


def _own_error(graph: GraphModules, path: str, right: _Arrays) -> float:
    """Run a scope on the sound graph's values and compare with what that gave."""
    feeds = _all_of(graph.borders[path].inputs, right)
    found = None if feeds is None else run_alone(graph, path, feeds)
    return float("inf") if found is None else _distance(right, found)


def _cut_out(graph: GraphModules, path: str, right: _Arrays) -> LoneModule | None:
    feeds = _all_of(graph.borders[path].inputs, right)
    reference = _all_of(graph.borders[path].outputs, right)
    if feeds is None or reference is None:
        return None
    return cut_out(graph, path, feeds, tuple(reference.values()))


def _all_of(names: Sequence[str], values: _Arrays) -> dict[str, np.ndarray] | None:
    """Return values by name, None if one of them is not there."""
    found = {name: values[name] for name in names if name in values}
    return found if len(found) == len(names) else None


def _distance(right: _Arrays, found: _Arrays) -> float:
    """Return the largest error of values by name.

    Infinities and NaN that are the same on both sides are no error: masks have them inside.
    """
    errors = [0.0]
    for name, value in found.items():
        wanted = right.get(name)
        if wanted is None or wanted.shape != value.shape or wanted.dtype != value.dtype:
            return float("inf")
        wide = [side.astype(np.float64) for side in (wanted, value)]
        same = (wide[0] == wide[1]) | (np.isnan(wide[0]) & np.isnan(wide[1]))
        same &= ~np.isfinite(wide[0])
        sides = [np.where(same, 0, side) for side in wide]
        error = relative_l2(*sides)
        errors.append(float("inf") if np.isnan(error) else error)
    return max(errors)
