"""A graph run part by part, keeping only what is still needed; and one module by itself."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from vampnet_onnx.configs.errors import EnvironmentLacksError

from .graph import GraphModules, GraphNode, is_below, is_within


class PartialRun:
    """One run of a graph, made as far as is asked for at a time.

    A value is let go once all nodes that use it have run, unless it is to be kept.
    """

    def __init__(
        self, graph: GraphModules, inputs: Mapping[str, np.ndarray], keep: Iterable[str] = ()
    ) -> None:
        """Start at the inputs.

        Args:
            inputs: arrays by name; inputs of the graph, or inner values that border a part.
            keep: values that are asked for more than once.
        """
        self._graph = graph
        self._keep = {*inputs, *keep}
        self._values = dict(inputs)
        self._done = set[str](inputs)

    def reach(self, wanted: Iterable[str]) -> dict[str, np.ndarray]:
        """Run what it takes to get to some values.

        Args:
            wanted: names, each asked for once or among those to be kept.

        Returns:
            Arrays by name, without those that the graph fails to reach.
        """
        names = dict.fromkeys(wanted)
        nodes = self._graph.between(self._values, names)
        made = {name for node in nodes for name in node.made}
        self._done |= made
        lasting = self._graph.used_after(self._done) | self._keep
        fetched = [n for n in made - self._values.keys() if n in lasting or n in names]
        self._values |= self._run(nodes, fetched)
        found = {name: self._values[name] for name in names if name in self._values}
        self._values = {n: v for n, v in self._values.items() if n in lasting}
        return found

    def _run(self, nodes: Sequence[GraphNode], fetched: list[str]) -> dict[str, np.ndarray]:
        taken = {name for node in nodes for name in node.taken}
        feeds = {name: array for name, array in self._values.items() if name in taken}
        try:
            return self._graph.run(feeds, fetched) if fetched else {}
        except EnvironmentLacksError:  # says nothing of the graph
            raise
        except Exception:  # ONNX Runtime's errors share no other base
            found: dict[str, np.ndarray] = {}
            for name in fetched:
                with contextlib.suppress(Exception):  # what fails is the finding
                    found |= self._graph.run(feeds, [name])
            return found


def run_in_stages(
    graph: GraphModules, inputs: Mapping[str, np.ndarray], stages: Sequence[str]
) -> PartialRun:
    """Start a run that keeps what crosses the borders of modules that hold stages.

    They are asked for when the module, such as a whole stack, finishes, long after their nodes
    have run.
    """
    above = [path for path in graph.paths if not is_within(path, stages)]
    return PartialRun(graph, inputs, keep=graph.border_values(above))


def run_alone(
    graph: GraphModules,
    path: str,
    inputs: Mapping[str, np.ndarray],
    stages: Sequence[str] = (),
) -> dict[str, np.ndarray] | None:
    """Run one module by itself, stage by stage if it holds several.

    Args:
        inputs: arrays of the values that border it, by name.

    Returns:
        Its outputs by name; None if it does not run.
    """
    run, outputs = PartialRun(graph, inputs), graph.borders[path].outputs
    for stage in stages:
        if is_below(stage, path) and stage in graph.borders:
            run.reach(graph.borders[stage].outputs)
    found = run.reach(outputs)
    return found if len(found) == len(outputs) else None
