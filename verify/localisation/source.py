"""What is taken as right in a walk: what every module took and gave on one input.

A source is PyTorch (`verify.localisation.torch_source`), whose modules are watched as they
run or were recorded in a set, or a graph, by the module path its nodes carry.  All speak of
modules by the same published paths.

Modules are handed over a *stage* at a time, a stage being a module with a bounded amount of
weights: at released size one transformer layer.  What a stage computed inside is let go before
the next one runs, so no walk holds the activations of a whole model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .graph import Border, GraphModules, is_below
from .partial_run import run_in_stages

ROOT = ""

# Weights of one stage: a transformer layer of released size has 66 MB, the largest block of
# the codec's decoder 60 MB.
STAGE_BYTES = 1 << 27


@dataclass(frozen=True)
class ModuleIO:
    """What one module did.

    Attributes:
        inputs: arrays that went in, in call order.
        rounding: measures its own float32 rounding on these inputs, as relative L2; None
            where it cannot be measured.
        arguments: what it was called with, of any kind; empty of a graph.
        keywords: the same, by name.
    """

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    rounding: Callable[[], float] | None = None
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)


Trace = dict[str, ModuleIO]
"""Modules by path, in the order in which they finished.

A module called more than once is absent: its calls cannot be told apart by path.
"""

Visit = Callable[[Trace], None]


class Source(ABC):
    """The side of a walk that is taken as right.

    Attributes:
        inputs: of the whole, by the names of the graph's inputs.
        folds: whether a module that is not expected may stand in a neighbour's weights, such
            as a batch norm in a convolution's.
    """

    inputs: Mapping[str, np.ndarray]
    stages: Sequence[str]
    folds = False

    def expected(self) -> frozenset[str]:
        """Find the modules that a sound export has; others are folded into neighbours."""
        return frozenset()

    @abstractmethod
    def stream(self, visit: Visit) -> None:
        """Run, and hand over the modules that finished since the last time, stage by stage."""


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


def stages_of(sizes: Mapping[str, int]) -> list[str]:
    """Return the shallowest paths of bounded weight, or that have nothing inside.

    Args:
        sizes: bytes of weights at or below each path, the root's under the empty one.
    """
    found = [
        path
        for path, size in sizes.items()
        if size <= STAGE_BYTES or not any(is_below(other, path) for other in sizes)
    ]
    return [path for path in found if not any(is_below(path, other) for other in found)]


def children_of(path: str, paths: Iterable[str]) -> list[str]:
    """Return the nearest of some paths below one, the root's for an empty one."""
    inside = [p for p in paths if is_below(p, path)]
    return [p for p in inside if not any(is_below(p, q) for q in inside)]


def _io(border: Border, values: Mapping[str, np.ndarray]) -> ModuleIO:
    """Return what crosses a border, of the values that the graph reached."""
    return ModuleIO(
        tuple(values[name] for name in border.inputs if name in values),
        tuple(values[name] for name in border.outputs if name in values),
    )
