"""Localisation of a built component: scope by scope against what is built now.

Two graphs built by this tool name their values alike, so a scope of one runs on the values of
the other by name, whatever their types.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from vampnet_onnx.verify.numbers.metrics import relative_l2

from .culprit import (
    INTRODUCES,
    OWN_ERROR_LIMIT,
    PASSES_ON,
    SOUND,
    Localisation,
    LoneModule,
    ModuleFinding,
    cut_out,
)
from .graph import GraphModules
from .graph_source import GraphSource
from .partial_run import PartialRun, run_alone
from .source import ROOT, is_below

_Arrays = Mapping[str, np.ndarray]


def localise_built(sound: GraphSource, graph: GraphModules) -> Localisation:
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
    first = _cut_out(graph, culprits[0], right) if culprits else None
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
    """Return the largest error of values by name; equal infinities are no error."""
    errors = [0.0]
    for name, value in found.items():
        wanted = right.get(name)
        if wanted is None or wanted.shape != value.shape or wanted.dtype != value.dtype:
            return float("inf")
        same = (wanted == value) & ~np.isfinite(wanted.astype(np.float64))
        sides = [np.where(same, 0, side).astype(np.float64) for side in (wanted, value)]
        error = relative_l2(*sides)
        errors.append(float("inf") if np.isnan(error) else error)
    return max(errors)
