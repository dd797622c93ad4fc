"""Names of nodes and values."""

from __future__ import annotations

import onnx


def test_node_and_value_names_are_unique(graph: onnx.ModelProto) -> None:
    nodes = [node.name for node in graph.graph.node]
    values = [name for node in graph.graph.node for name in node.output]
    values += [i.name for i in graph.graph.initializer] + [i.name for i in graph.graph.input]
    assert len(set(nodes)) == len(nodes) and len(set(values)) == len(values)
