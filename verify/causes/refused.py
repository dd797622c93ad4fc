"""Which node a runtime stumbles over, where it does not load a file or does not run it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.pipeline.version.session import Opened
from vampnet_onnx.verify.localisation.graph import GraphModules, GraphNode


def refused_node(
    path: Path,
    text: str,
    open_graph: Callable[[Path], Opened],
    inputs: Mapping[str, np.ndarray],
) -> GraphNode | None:
    """Return the node that a runtime's words name; else the first without which it runs.

    That is sought by halving: the graph is cut off behind some of its nodes, and loaded and
    run so.

    Args:
        text: what the runtime said of the whole file.
        inputs: that it was to run on.

    Returns:
        The node of the main graph, so for one inside of a loop the loop; None where none is
        named and the graph runs when it is saved once more.
    """
    graph = GraphModules(path)
    places = ((_named_at(node.name, text), node) for node in graph.nodes)
    named = [(at, node) for at, node in places if at is not None]
    if named:  # a node stands before what it takes, which may be called like other nodes
        return min(named, key=lambda found: found[0])[1]

    def fails(count: int) -> bool:
        made = {name for node in graph.nodes[:count] for name in node.made}
        wanted = [name for name in sorted(made) if name in graph.used_after(made) | ends]
        try:
            with temporary_folder() as folder:
                cut = folder / path.name
                save_graph(graph.part(inputs, wanted), cut)
                open_graph(cut).run({name: inputs[name] for name in graph.input_names})
        except InputError:
            return True
        return False

    ends = {str(value.name) for value in graph.model.graph.outputs}
    runs, stops = 0, len(graph.nodes)
    if not fails(stops):
        return None
    while stops - runs > 1:
        half = (runs + stops) // 2
        runs, stops = (runs, half) if fails(half) else (half, stops)
    return graph.nodes[stops - 1]


def _named_at(name: str, text: str) -> int | None:
    """Return where a node's name stands in a text, and not as a part of a longer one."""
    found = re.search(rf"(?<![\w./]){re.escape(name)}(?![\w/]|\.\w)", text)
    return found.start() if found else None
