"""The path of the module each node came from, kept through every later transform.

Localisation compares a module's output with the graph's tensor; the link between the two is
this path.  torch's exporter writes it among other things that name files of the exporting
machine, so everything else of its notes is removed.
"""

import ast

import onnx_ir as ir

from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult

MODULE_KEY = "vampnet_onnx.module"

_SCOPES = "pkg.torch.onnx.name_scopes"
# What torch's exporter calls nodes that it made outside of any module.
_NO_MODULE = "_empty_nn_module_stack_from_metadata_hook"


class KeepModulePaths(GraphPass):
    """Reduce the exporter's notes on nodes to the module path.

    Rules:
        node metadata -> {MODULE_KEY: path}, the path empty for nodes of the root;
        metadata and documentation of values, graph and model -> nothing.
    """

    def requires(self, model: ir.Model) -> None:
        """Every node has the exporter's note of the modules it stands in."""
        for node in model.graph:
            if _SCOPES not in node.metadata_props:
                raise PassError(f"node {node.name} has no note of the module it came from")

    def call(self, model: ir.Model) -> PassResult:
        """Rewrite the metadata of every node in place."""
        for node in model.graph:
            path = _module_path(node.metadata_props[_SCOPES])
            node.metadata_props.clear()
            node.metadata_props[MODULE_KEY] = path
            node.doc_string = None
        for value in _values(model):
            value.metadata_props.clear()
        model.graph.metadata_props.clear()
        model.metadata_props.clear()
        model.graph.doc_string = model.doc_string = None
        count = len(model.graph)
        return PassResult(count, f"kept the module path of {count} nodes")

    def ensures(self, model: ir.Model) -> None:
        """Every node has its path, and nothing else has been noted anywhere."""
        for node in model.graph:
            if node.metadata_props.keys() != {MODULE_KEY}:
                raise PassError(f"node {node.name} has the notes {[*node.metadata_props]}")
        if any(value.metadata_props for value in _values(model)):
            raise PassError("KeepModulePaths left notes on values")
        if model.metadata_props or model.graph.metadata_props:
            raise PassError("KeepModulePaths left notes on the graph")
        if any(told.doc_string for told in (*model.graph, model.graph, model)):
            raise PassError("KeepModulePaths left documentation")


def module_of(node: ir.Node) -> str | None:
    """Return the module path on a node: ours, or what torch's exporter noted; None if neither.

    The empty path is the root's.
    """
    if MODULE_KEY in node.metadata_props:
        return node.metadata_props[MODULE_KEY]
    scopes = node.metadata_props.get(_SCOPES)
    return None if scopes is None else _module_path(scopes)


def paths_by_output(model: ir.Model) -> dict[str, str]:
    """Return the module path of the node behind each value name."""
    return {
        value.name: node.metadata_props[MODULE_KEY]
        for node in model.graph
        for value in node.outputs
        if value.name
    }


def restore_paths(model: ir.Model, paths: dict[str, str]) -> int:
    """Give nodes their module path back after a tool that drops metadata.

    A node the tool made anew has outputs no map knows; it gets the path of the nearest node
    above it, or below it where there is none above.

    Returns:
        How many nodes were made anew.
    """
    made = 0
    for node in model.graph:
        known = [paths[v.name] for v in node.outputs if v.name in paths]
        if not known:
            made += 1
            known = _neighbour_paths(node)
        node.metadata_props[MODULE_KEY] = known[0] if known else ""
    return made


def _values(model: ir.Model) -> list[ir.Value]:
    graph = model.graph
    made = [value for node in graph for value in node.outputs]
    return [*graph.inputs, *graph.initializers.values(), *made]


def _module_path(scopes: str) -> str:
    names = ast.literal_eval(scopes)
    path = names[-2] if len(names) >= 2 else ""
    return "" if path == _NO_MODULE else str(path)


def _neighbour_paths(node: ir.Node) -> list[str]:
    above = [v.producer() for v in node.inputs if v is not None]
    below = [user.node for value in node.outputs for user in value.uses()]
    return [
        n.metadata_props[MODULE_KEY]
        for n in (*above, *below)
        if n is not None and MODULE_KEY in n.metadata_props
    ]
