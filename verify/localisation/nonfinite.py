"""Where a NaN or an infinity is born: finite inputs, non-finite output.

Source of the rule: an operator is the source of a non-finite value if its output is non-finite
while its direct inputs are finite, as Apple's coremltools puts it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .graph import GraphModules, GraphNode, is_below
from .partial_run import PartialRun
from .source import ROOT, GraphSource, Source, Trace

CHECKPOINT = "the checkpoint does it: PyTorch gives non-finite values on this input"
CHECKPOINT_ALONE = f"{CHECKPOINT}, and the export does not"
EACH = f"{CHECKPOINT}, and the export does it elsewhere, too"
EXPORT = "the export does it: PyTorch is finite on this input"
HIDDEN = "the export makes non-finite values inside, which do not reach its outputs"
NEITHER = "both sides are finite"

_NODES_AT_A_TIME = 64  # a transformer layer has 45


@dataclass(frozen=True)
class Birth:
    """Where non-finite values come from.

    Attributes:
        verdict: who is to blame, one of the constants of this module.
        module: first module of the reference with finite inputs and non-finite output.
        node: first node of the export of that kind.
        node_module: path of the module the node came from.
    """

    verdict: str
    module: str = ""
    node: str = ""
    node_module: str = ""
    operator: str = ""

    def __str__(self) -> str:
        parts = [self.verdict]
        if self.module:
            parts.append(f"first module of the reference: {self.module}")
        if self.node:
            parts.append(
                f"first node of the export: {self.node} ({self.operator}, in"
                f" {self.node_module or 'the root'})"
            )
        return "; ".join(parts)


def find_birth(source: Source, graph: GraphModules) -> Birth:
    """Look for the first non-finite value on both sides."""
    module, reference_ends_finite = _first_module(source)
    node, export_ends_finite = _first_node(graph, source.inputs)
    if reference_ends_finite and export_ends_finite:
        inside = module  # a reference of finite outputs may make some inside, too
        if isinstance(source, GraphSource):
            inside = str(_first_node(source.graph, source.inputs)[0] or "")
        if node is None or inside:
            return Birth(NEITHER)
        verdict = HIDDEN
    elif reference_ends_finite:
        verdict = EXPORT
    elif export_ends_finite:
        verdict = CHECKPOINT_ALONE
    else:
        verdict = CHECKPOINT if _same_place(module, node.module if node else "") else EACH
    if node is None:
        return Birth(verdict, module)
    return Birth(verdict, module, node.name, node.module, node.operator)


def _first_module(source: Source) -> tuple[str, bool]:
    """Return the first module that makes a non-finite value, and whether the end is finite."""
    found, ends_finite = list[str](), True

    def look(trace: Trace) -> None:
        nonlocal ends_finite
        for path, io in trace.items():
            finite = _finite(io.outputs)
            if not finite and _finite(io.inputs):
                found.append(path)
            if path == ROOT:
                ends_finite = finite

    source.stream(look)
    return (found[0] if found else ""), ends_finite


def _first_node(
    graph: GraphModules, inputs: Mapping[str, np.ndarray]
) -> tuple[GraphNode | None, bool]:
    """Return the first node that makes a non-finite value, and whether the end is finite."""
    ends = graph.borders[ROOT].outputs
    run, found = PartialRun(graph, inputs, keep=ends), None
    for start in range(0, len(graph.nodes), _NODES_AT_A_TIME):
        some = graph.nodes[start : start + _NODES_AT_A_TIME]
        values = run.reach(name for node in some for name in (*node.taken, *node.made))
        for node in some:
            finite = _finite(values[n] for n in node.taken if n in values)
            if finite and not _finite(values[n] for n in node.made if n in values):
                found = found or node
    return found, _finite(run.reach(ends).values())


def _same_place(module: str, other: str) -> bool:
    return module == other or is_below(module, other) or is_below(other, module)


def _finite(arrays: Iterable[np.ndarray]) -> bool:
    return all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f")
