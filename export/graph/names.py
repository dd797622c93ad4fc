"""Names that depend on the graph alone, so that the same export gives the same bytes."""

from collections import Counter

import onnx_ir as ir

from vampnet_onnx.export.passes.base import GraphPass, PassError, PassResult

from .module_paths import MODULE_KEY


class CanonicalNames(GraphPass):
    """Name nodes, values and constants after the module they stand in.

    torch's exporter numbers some names by the order in which Python happened to visit
    symbolic shapes, which changes from one process to the next.

    Rules:
        node -> path/OpType_i; its outputs -> the node's name;
        initializer with the name of a parameter -> kept;
        other initializer -> path/constant_i, the path of its first user;
        shapes of inner values -> removed (they hold the exporter's symbols).
    """

    def __init__(self, parameters: frozenset[str]) -> None:
        """Remember the names to keep, those in the exported module's state dict."""
        self.parameters = parameters

    def call(self, model: ir.Model) -> PassResult:
        """Rename in place."""
        graph = model.graph
        fixed = {v.name for v in (*graph.inputs, *graph.outputs)}
        counts: Counter[str] = Counter()
        constants: dict[str, str] = {}
        for node in graph:
            path = node.metadata_props[MODULE_KEY]
            node.name = numbered(counts, path, node.op_type)
            for i, value in enumerate(node.outputs):
                if value.name not in fixed:
                    value.name = node.name if i == 0 else f"{node.name}:{i}"
                    value.shape = None
                    value.type = None
            for used in node.inputs:
                if used is not None and used.is_initializer():
                    name = str(used.name)
                    if name not in self.parameters and name not in constants:
                        constants[name] = numbered(counts, path, "constant")
        # In two steps, since an old name may be another's new one.
        for step, suffix in ((constants, "#"), ({n + "#": n for n in constants.values()}, "")):
            for old, new in step.items():
                value = graph.initializers.pop(old)
                value.name = new + suffix
                graph.register_initializer(value)
        for name in sorted(graph.initializers):
            graph.register_initializer(graph.initializers.pop(name))
        graph.name = "main"
        return PassResult(len(graph), f"named {len(graph)} nodes, {len(constants)} constants")

    def ensures(self, model: ir.Model) -> None:
        """Every name is one of a kind, and starts with the path of a module."""
        graph = model.graph
        if [*graph.initializers] != sorted(graph.initializers):
            raise PassError("CanonicalNames left constants unsorted")
        names = [node.name for node in graph]
        if len({*names}) < len(names):
            raise PassError("CanonicalNames gave a name twice")
        fixed = {*graph.inputs, *graph.outputs}
        for node in graph:
            path = node.metadata_props[MODULE_KEY]
            if not str(node.name).startswith(f"{path}/{node.op_type}_".lstrip("/")):
                raise PassError(f"a node of {path} is named {node.name}")
            for value in node.outputs:
                named = str(value.name).partition(":")[0] == node.name
                if value not in fixed and (value.shape is not None or not named):
                    raise PassError(f"an inner value of {node.name} is {value}")


def numbered(counts: Counter[str], path: str, kind: str) -> str:
    """Return the next name of a kind in a module, and count it."""
    stem = f"{path}/{kind}" if path else kind
    number = counts[stem]
    counts[stem] += 1
    return f"{stem}_{number}"
