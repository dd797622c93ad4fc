"""A graph as the side of a walk that is taken as right."""

from collections.abc import Mapping

import numpy as np

from .graph import Border, GraphModules
from .partial_run import run_in_stages
from .source import ROOT, ModuleIO, Source, Visit, stages_of


class GraphSource(Source):
    """A graph on one input, by the names of its inputs.

    Attributes:
        same_names: its values have the names of the walked graph's, as two graphs that this
            tool built node by node.
    """

    def __init__(
        self,
        graph: GraphModules,
        inputs: Mapping[str, np.ndarray],
        *,
        same_names: bool = False,
    ) -> None:
        self.inputs = inputs
        self.same_names = same_names
        self.graph = graph
        self.stages = stages_of(graph.sizes())

    def expected(self) -> frozenset[str]:
        """Return the modules of the graph."""
        return frozenset(self.graph.borders)

    def stream(self, visit: Visit) -> None:
        """Run the graph stage by stage."""
        run = run_in_stages(self.graph, self.inputs, self.stages)
        group: list[str] = []
        for path in self.graph.paths:
            group.append(path)
            if path in self.stages or path == ROOT:
                values = run.reach(self.graph.border_values(group))
                found = {p: _io(self.graph.borders[p], values) for p in group}
                visit({p: io for p, io in found.items() if io.outputs})
                group = []


def _io(border: Border, values: Mapping[str, np.ndarray]) -> ModuleIO:
    """Return what crosses a border, of the values that the graph reached."""
    return ModuleIO(
        tuple(values[name] for name in border.inputs if name in values),
        tuple(values[name] for name in border.outputs if name in values),
    )
