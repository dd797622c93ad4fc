"""Localisation of a drawn component: scope by scope against what is drawn now.

Two drawings by this tool name their values alike, so a scope of one runs on the values of the
other by name, whatever their types.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vampnet_onnx.verify.numbers.metrics import relative_l2

from .graph import GraphModules
from .lane import GraphSource, Lane
from .walk import (
    INTRODUCES,
    OWN_ERROR_LIMIT,
    PASSES_ON,
    SOUND,
    Finding,
    Localisation,
    LoneModule,
)

_Arrays = Mapping[str, np.ndarray]


def locate_drawn(sound: GraphSource, graph: GraphModules) -> Localisation:
    """Find the scopes in which a graph departs from a sound one.

    Args:
        sound: drawn now, with the input.
        graph: the export.
    """
    right = _border_values(sound.graph, sound.inputs)
    values = _border_values(graph, sound.inputs)
    findings: list[Finding] = []
    known = set(sound.graph.paths)

    def error_of(path: str) -> float:
        names = graph.border(path).outputs
        return _distance(right, {name: values[name] for name in names if name in values})

    for path in (p for p in graph.paths if p and p in known):
        error, own = error_of(path), _own_error(graph, path, right)
        findings.append(Finding(path, error, own, SOUND if error <= OWN_ERROR_LIMIT else ""))
    wrong = [f.path for f in findings if not f.own_error <= OWN_ERROR_LIMIT]
    # A scope with a culprit inside passes on what that one introduces.
    culprits = [p for p in wrong if not any(q.startswith(p + ".") for q in wrong)]
    if not culprits and error_of("") > OWN_ERROR_LIMIT:
        culprits = [""]
    judged = tuple(
        Finding(
            f.path,
            f.error,
            f.own_error,
            INTRODUCES if f.path in culprits else f.verdict or PASSES_ON,
        )
        for f in findings
    )
    cut_out = _cut_out(graph, culprits[0], right) if culprits else None
    return Localisation(judged, tuple(culprits), cut_out)


def _border_values(graph: GraphModules, inputs: _Arrays) -> dict[str, np.ndarray]:
    borders = [graph.border(path) for path in graph.paths]
    names = [name for b in borders for name in (*b.inputs, *b.outputs)]
    return Lane(graph, inputs).reach(names)


def _own_error(graph: GraphModules, path: str, right: _Arrays) -> float:
    """Run a scope on the sound graph's values and compare with what that gave."""
    found = _run(graph, path, right)
    return float("inf") if found is None else _distance(right, found)


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


def _cut_out(graph: GraphModules, path: str, right: _Arrays) -> LoneModule | None:
    border = graph.border(path)
    outputs = _run(graph, path, right)
    if outputs is None or any(name not in right for name in border.outputs):
        return None
    feeds = {name: right[name] for name in border.inputs}
    reference = tuple(right[name] for name in border.outputs)
    return LoneModule(graph.part(feeds, border.outputs), feeds, outputs, reference)


def _run(graph: GraphModules, path: str, right: _Arrays) -> dict[str, np.ndarray] | None:
    border = graph.border(path)
    if any(name not in right for name in border.inputs):
        return None
    feeds = {name: right[name] for name in border.inputs}
    try:
        found = graph.run(feeds, border.outputs)
    except Exception:  # ONNX Runtime's errors share no other base; a failing scope is wrong
        return None
    return {name: found[name] for name in border.outputs}
