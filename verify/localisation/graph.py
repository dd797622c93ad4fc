"""Modules of a graph, found again by the path that the exporter kept on its nodes.

A module is the set of nodes whose path is its own or below it.  What crosses its border on the
way in is its input, on the way out its output.  A module can be cut out and run by itself on
other inputs, which tells whether it introduces an error or passes one on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export.adapters import adapter_tensors
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.onnx_file import save_graph

_GRAPH = ir.AttributeType.GRAPH


@dataclass(frozen=True)
class Border:
    """Values that cross the border of a module, in the order of the graph."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class GraphModules:
    """One graph, its modules, and ways to run it whole or in part."""

    def __init__(self, path: Path, adapters: Sequence[Path] = ()) -> None:
        """Load a graph.

        Args:
            path: an artifact's ``.onnx`` file.
            adapters: ``.onnx_adapter`` files whose values take the place of its defaults.

        Raises:
            InputError: the nodes carry no module paths, or an adapter is not for this graph.
        """
        self._model = ir.load(path)
        for adapter in adapters:
            self._switch_on(adapter)
        self.metadata = dict(self._model.metadata_props)
        self._nodes = list(self._model.graph)
        self._maker = {str(made.name): node for node in self._nodes for made in node.outputs}
        self._borders: dict[str, Border] = {}
        self._around = {inner: node for node in self._nodes for inner in _inner_nodes(node)}
        if not any(node.metadata_props.get(MODULE_KEY) for node in self._nodes):
            raise InputError(
                f"{path}: its nodes carry no module path ({MODULE_KEY}), so no layer can be"
                " named; only files this tool exported have them"
            )

    def _switch_on(self, adapter: Path) -> None:
        """Put an adapter's values in the place of the defaults."""
        defaults = self._model.graph.initializers
        for name, tensor in adapter_tensors(adapter).items():
            if name not in defaults:
                raise InputError(f"{adapter}: gives {name}, which the graph does not take")
            defaults[name].const_value = ir.tensor(tensor, name=name)

    @cached_property
    def paths(self) -> list[str]:
        """Every module path and every prefix of one, in the order in which they finish."""
        last: dict[str, int] = {}
        for i, node in enumerate(self._nodes):
            parts = node.metadata_props.get(MODULE_KEY, "").split(".")
            last |= {".".join(parts[:n]): i for n in range(len(parts) + 1)}
        return sorted(last, key=lambda path: (last[path], -len(path)))

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the weights that each path's nodes use, by path."""
        found = dict.fromkeys(self.paths, 0)
        for node in self._nodes:
            held = [v.const_value for v in _used(node) if v.is_initializer()]
            size = sum(tensor.nbytes for tensor in held if tensor is not None)
            parts = node.metadata_props.get(MODULE_KEY, "").split(".")
            for path in {".".join(parts[:n]) for n in range(len(parts) + 1)}:
                found[path] += size
        return found

    def border(self, path: str) -> Border:
        """Return what crosses the border of a module."""
        if path not in self._borders:
            self._borders[path] = self._find_border(path)
        return self._borders[path]

    def needed(
        self, wanted: Collection[str], known: Collection[str]
    ) -> list[tuple[list[str], list[str]]]:
        """Return the nodes that lie between some values and others.

        Args:
            wanted: names of values.
            known: names of values that need not be computed.

        Returns:
            Names of inputs and outputs of each node, in order.
        """
        found = set[ir.Node]()
        ahead = [name for name in wanted if name not in known]
        while ahead:
            node = self._maker.get(ahead.pop())
            if node is not None and node not in found:
                found.add(node)
                ahead += [name for name in _names(_used(node)) if name not in known]
        chosen = (node for node in self._nodes if node in found)
        return [(_names(_used(node)), _names(node.outputs)) for node in chosen]

    def follows_from(self, name: str, known: Collection[str]) -> bool:
        """Return whether a value can be computed from others alone."""
        nodes = self.needed([name], known)
        made = {output for _, outputs in nodes for output in outputs}
        taken = {used for inputs, _ in nodes for used in inputs}
        return bool(nodes) and bool(taken) and taken <= made | set(known)

    def used_after(self, made: Collection[str]) -> set[str]:
        """Return the values that nodes use of which not every output is made."""
        return {
            name
            for node in self._nodes
            if any(output not in made for output in _names(node.outputs))
            for name in _names(_used(node))
        }

    def run(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run as much of the graph as it takes to get from some values to others.

        Args:
            inputs: arrays by name; inputs of the graph, or inner values that border a part.
            wanted: names of values, which may be among the inputs.

        Returns:
            Arrays by name, the inputs included.
        """
        inner = [name for name in dict.fromkeys(wanted) if name not in inputs]
        if not inner:
            return dict(inputs)
        with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
            file = Path(folder) / "part.onnx"
            save_graph(self.part(inputs, inner), file)
            options = ort.SessionOptions()
            options.log_severity_level = 4  # errors come as exceptions
            # As the file stands: a fusion would hide the very values that are asked for.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            session = ort.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
            taken = {item.name for item in session.get_inputs()}
            feeds = {name: array for name, array in inputs.items() if name in taken}
            found = session.run(inner, feeds)
        return {**inputs, **dict(zip(inner, found, strict=True))}

    def part(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> ir.Model:
        """Cut out what lies between some values and others, as a model of its own.

        Args:
            inputs: arrays by name, for the types of the new inputs.
            wanted: names of the new outputs.
        """
        known = {v.name for node in self._nodes for v in (*_used(node), *node.outputs)}
        names = [name for name in inputs if name in known]
        graph = ir.convenience.extract(self._model.graph, names, list(wanted))
        for value in graph.inputs:
            array = inputs[str(value.name)]
            value.dtype = ir.DataType.from_numpy(array.dtype)
            value.shape = ir.Shape([None] * array.ndim)
        graph.opset_imports.update(self._model.opset_imports)
        return ir.Model(graph, ir_version=self._model.ir_version)

    def operators(self) -> list[tuple[str, str, str, list[str], list[str]]]:
        """Return name, type, module path, inputs and outputs of every node, in order."""
        return [
            (
                str(node.name),
                node.op_type,
                node.metadata_props.get(MODULE_KEY, ""),
                [str(v.name) for v in node.inputs if v is not None and not v.is_initializer()],
                [str(v.name) for v in node.outputs],
            )
            for node in self._nodes
        ]

    def _find_border(self, path: str) -> Border:
        inside = self._inside(path)
        members = set(inside)
        ends = {id(value) for value in self._model.graph.outputs}
        inputs: dict[str, None] = {}
        outputs: dict[str, None] = {}
        for node in inside:
            for used in _used(node):
                if used.is_initializer() or used.producer() in members:
                    continue
                inputs[str(used.name)] = None
            for made in node.outputs:
                leaves = any(self._outermost(use.node) not in members for use in made.uses())
                if leaves or id(made) in ends:
                    outputs[str(made.name)] = None
        return Border(tuple(inputs), tuple(outputs))

    def _outermost(self, node: ir.Node) -> ir.Node:
        """Return the node of the main graph that a node is in, which may be itself."""
        return self._around.get(node, node)

    def _inside(self, path: str) -> list[ir.Node]:
        if not path:
            return self._nodes
        return [
            node
            for node in self._nodes
            if node.metadata_props.get(MODULE_KEY, "") == path
            or node.metadata_props.get(MODULE_KEY, "").startswith(path + ".")
        ]


def _used(node: ir.Node) -> list[ir.Value]:
    """Return the values a node takes, those its branches and bodies take from outside too."""
    inside = _inner_nodes(node)
    graphs = [a.as_graph() for a in node.attributes.values() if a.type is _GRAPH]
    own = {value for inner in inside for value in inner.outputs}
    own |= {value for graph in graphs for value in graph.inputs}
    taken = [v for n in (node, *inside) for v in n.inputs if v is not None and v not in own]
    return list(dict.fromkeys(taken))


def _names(values: Iterable[ir.Value]) -> list[str]:
    """Return the names of values that are neither left out nor weights."""
    return [str(v.name) for v in values if v.name and not v.is_initializer()]


def _inner_nodes(node: ir.Node) -> list[ir.Node]:
    """Return the nodes of a node's branches and bodies, at any depth."""
    graphs = [a.as_graph() for a in node.attributes.values() if a.type is _GRAPH]
    return [inner for graph in graphs for inner in graph.all_nodes()]
