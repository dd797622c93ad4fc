"""Which node a runtime stumbles over, where it does not load a file or does not run it."""

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
    named = [node for node in graph.nodes if _is_named(node.name, text)]
    if named:
        return max(named, key=lambda node: len(node.name))

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


def _is_named(name: str, text: str) -> bool:
    """Whether a node's name stands in a text, and not only as a part of a longer one."""
    before, found, after = text.partition(name)
    border = (*before[-1:], *after[:1])
    return bool(found) and not any(c.isalnum() or c in "_./" for c in border)
