"""A graph run part by part, keeping only what is still needed, and as a side of a walk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .graph import GraphModules
from .torch_source import ModuleIO, Trace, Visit, is_below, stages_of


class Lane:
    """One run of a graph, made as far as is asked for at a time.

    A value is let go once all nodes that use it have run, unless it is to be kept.
    """

    def __init__(
        self,
        graph: GraphModules,
        inputs: Mapping[str, np.ndarray],
        keep: Iterable[str] = (),
    ) -> None:
        """Start at the inputs.

        Args:
            graph: what to run.
            inputs: arrays by name; inputs of the graph, or inner values that border a part.
            keep: values that are asked for more than once.
        """
        self._graph = graph
        self._keep = {*inputs, *keep}
        self._values = dict(inputs)
        self._done = set[str](inputs)

    def reach(self, wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """Run what it takes to get to some values.

        Args:
            wanted: names, each asked for once or among those to be kept.

        Returns:
            Arrays by name, without those that the graph fails to reach.
        """
        nodes, names = self._graph.needed(wanted, self._values), list(dict.fromkeys(wanted))
        if nodes:
            made = {name for _, outputs in nodes for name in outputs}
            self._done |= made
            later = self._graph.used_after(self._done)
            fetched = [n for n in made if n in later or n in names or n in self._keep]
            self._values |= self._run(nodes, fetched)
        found = {name: self._values[name] for name in names if name in self._values}
        live = self._graph.used_after(self._done)
        self._values = {n: v for n, v in self._values.items() if n in live or n in self._keep}
        return found

    def _run(
        self, nodes: Sequence[tuple[list[str], list[str]]], fetched: list[str]
    ) -> dict[str, np.ndarray]:
        taken = {name for inputs, _ in nodes for name in inputs}
        feeds = {name: array for name, array in self._values.items() if name in taken}
        try:
            return self._graph.run(feeds, fetched)
        except Exception:  # ONNX Runtime's errors share no other base
            found: dict[str, np.ndarray] = {}
            for name in fetched:
                with contextlib.suppress(Exception):  # what fails is the finding
                    found[name] = self._graph.run(feeds, [name])[name]
            return found


def border_values(graph: GraphModules, stages: Sequence[str]) -> list[str]:
    """Return what crosses the borders of modules that hold stages, such as a whole stack.

    They are asked for when the module finishes, long after their nodes have run.
    """
    above = [p for p in graph.paths if not any(p == s or is_below(p, s) for s in stages)]
    borders = [graph.border(path) for path in above]
    return [name for b in borders for name in (*b.inputs, *b.outputs)]


class GraphSource:
    """A graph as the side of a walk that is taken as right."""

    def __init__(self, graph: GraphModules, inputs: Mapping[str, np.ndarray]) -> None:
        """Take a graph and an input, by the names of its inputs."""
        self.inputs = inputs
        self.graph = graph
        self.stages = stages_of(graph.sizes())
        self.expected = frozenset(graph.paths)

    def stream(self, visit: Visit) -> None:
        """Run the graph stage by stage."""
        borders = {path: self.graph.border(path) for path in self.graph.paths}
        lane = Lane(self.graph, self.inputs, border_values(self.graph, self.stages))
        group: list[str] = []
        for path in self.graph.paths:
            group.append(path)
            if path not in self.stages and path != self.graph.paths[-1]:
                continue
            names = [n for p in group for n in (*borders[p].inputs, *borders[p].outputs)]
            values = lane.reach(names)
            visit(
                Trace(
                    {
                        p: ModuleIO(
                            tuple(values[n] for n in borders[p].inputs if n in values),
                            tuple(values[n] for n in borders[p].outputs if n in values),
                        )
                        for p in group
                        if any(n in values for n in borders[p].outputs)
                    }
                )
            )
            group = []
