"""Modules of a graph, found again by the path that the exporter kept on its nodes.

A module is the set of nodes whose path is its own or below it.  What crosses its border on the
way in is its input, on the way out its output.  A module can be cut out and run by itself on
other inputs, which tells whether it introduces an error or passes one on.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export.adapters import adapter_tensors
from vampnet_onnx.export.graph import module_of
from vampnet_onnx.export.onnx_file import graph_bytes, read_graph

from .widen import widen

# Weights from here on are lent to ONNX Runtime as inputs of a part: read from its bytes, each
# would be copied and packed anew for every part it is in.
_LENT_BYTES = 1 << 10


Run = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
"""Takes arrays by name, gives those that were asked for."""
OpenPart = Callable[[ir.Model, Mapping[str, np.ndarray], Sequence[str]], Run]
"""Opens a part that takes such arrays by name and gives some by name."""


@dataclass(frozen=True)
class GraphNode:
    """A node of the main graph.

    Attributes:
        module: path of the module it came from.
        taken: values it takes, weights left out; also what its branches and bodies take.
        weight_bytes: of the weights it takes.
    """

    name: str
    operator: str
    module: str
    taken: tuple[str, ...]
    made: tuple[str, ...]
    weight_bytes: int


@dataclass(frozen=True)
class Border:
    """Values that cross the border of a module, in the order of the graph."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class GraphModules:
    """One graph, its modules, and ways to run it whole or in part.

    Attributes:
        elsewhere: opens its parts, where that is not ONNX Runtime on the CPU.
    """

    def __init__(self, path: Path, adapters: Sequence[Path] = ()) -> None:
        """Load a graph.

        Args:
            adapters: ``.onnx_adapter`` files whose values take the place of its defaults.

        Raises:
            InputError: the nodes carry no module paths, or an adapter is not for this graph.
        """
        self._model = read_graph(path)
        self.elsewhere: OpenPart | None = None
        for adapter in adapters:
            self._switch_on(adapter)
        self.metadata = dict(self._model.metadata_props)
        self.nodes = [_described(node) for node in self._model.graph]
        self._maker = {name: i for i, node in enumerate(self.nodes) for name in node.made}
        if not any(node.module for node in self.nodes):
            raise InputError(
                f"{path}: its nodes carry no module paths, so no layer can be named; what"
                " vampnet-onnx export, vampnet_onnx.export_with_paths or"
                " torch.onnx.export(dynamo=True) write has them"
            )

    def _switch_on(self, adapter: Path) -> None:
        """Put an adapter's values in the place of the defaults."""
        defaults = self._model.graph.initializers
        for name, tensor in adapter_tensors(adapter).items():
            if name not in defaults:
                raise InputError(f"{adapter}: gives {name}, which the graph does not take")
            defaults[name].const_value = ir.tensor(tensor, name=name)

    def compute_in_float32(self) -> list[ir.Node]:
        """Compute in float32 what the graph computes in half precision; see `widen`.

        Returns:
            The nodes whose outputs were in half precision, in order.
        """
        return widen(self._model.graph)

    @cached_property
    def _inside(self) -> dict[str, list[int]]:
        """Nodes of every module path and prefix of one, in the order in which they finish."""
        inside: dict[str, list[int]] = {}
        for i, node in enumerate(self.nodes):
            parts = node.module.split(".")
            for path in dict.fromkeys(".".join(parts[:n]) for n in range(len(parts) + 1)):
                inside.setdefault(path, []).append(i)
        return dict(sorted(inside.items(), key=lambda item: (item[1][-1], -len(item[0]))))

    @cached_property
    def borders(self) -> dict[str, Border]:
        """What crosses the border of every module, by path, in the order they finish in."""
        users: dict[str, list[int]] = {}
        for i, node in enumerate(self.nodes):
            for name in node.taken:
                users.setdefault(name, []).append(i)
        ends = {str(value.name) for value in self._model.graph.outputs}
        found = {}
        for path, inside in self._inside.items():
            members = set(inside)
            taken = dict.fromkeys(name for i in inside for name in self.nodes[i].taken)
            made = [name for i in inside for name in self.nodes[i].made]
            leaving = (
                name
                for name in made
                if name in ends or not members.issuperset(users.get(name, ()))
            )
            entering = (name for name in taken if self._maker.get(name) not in members)
            found[path] = Border(tuple(entering), tuple(leaving))
        return found

    @property
    def paths(self) -> list[str]:
        """Every module path and every prefix of one, in the order in which they finish."""
        return list(self._inside)

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the weights that each path's nodes use, by path."""
        return {
            path: sum(self.nodes[i].weight_bytes for i in inside)
            for path, inside in self._inside.items()
        }

    def border_values(self, paths: Iterable[str]) -> list[str]:
        """Return the names of all values that cross the borders of some modules."""
        borders = (self.borders[path] for path in paths)
        return [name for border in borders for name in (*border.inputs, *border.outputs)]

    def between(self, known: Collection[str], wanted: Iterable[str]) -> list[GraphNode]:
        """Return the nodes, in order, that it takes to get from some values to others."""
        found = set[int]()
        ahead = [name for name in wanted if name not in known]
        while ahead:
            i = self._maker.get(ahead.pop())
            if i is not None and i not in found:
                found.add(i)
                ahead += [name for name in self.nodes[i].taken if name not in known]
        return [self.nodes[i] for i in sorted(found)]

    def follows_from(self, name: str, known: Collection[str]) -> bool:
        """Return whether a value can be computed from others alone."""
        nodes = self.between(known, [name])
        taken = {used for node in nodes for used in node.taken}
        made = {name for node in nodes for name in node.made}
        return bool(taken) and taken <= made | set(known)

    def used_after(self, made: Collection[str]) -> set[str]:
        """Return the values that nodes use of which not every output is made."""
        return {
            name
            for node in self.nodes
            if any(output not in made for output in node.made)
            for name in node.taken
        }

    def run(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Run as much of the graph as it takes to get from some values to others.

        Args:
            inputs: arrays by name; inputs of the graph, or inner values that border a part.
            wanted: names of values that are not among the inputs.
        """
        return dict(zip(wanted, self.opened(inputs, wanted)(inputs), strict=True))

    def opened(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Run:
        """Return what runs a part again and again; arguments as of `run`."""
        part = self.part(inputs, wanted)
        if self.elsewhere is not None:
            return self.elsewhere(part, inputs, wanted)
        weights = _lent(part.graph)
        options = ort.SessionOptions()
        options.log_severity_level = 4  # errors come as exceptions
        # As the file stands: a fusion would hide the very values that are asked for.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.intra_op_num_threads = torch.get_num_threads()
        session = ort.InferenceSession(
            graph_bytes(part), options, providers=["CPUExecutionProvider"]
        )
        taken = [item.name for item in session.get_inputs() if item.name not in weights]

        def run(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            feeds = weights | {name: arrays[name] for name in taken}
            return list(session.run(list(wanted), feeds))

        return run

    @property
    def model(self) -> ir.Model:
        """The graph itself, adapters switched on; not to be changed."""
        return self._model

    @property
    def input_names(self) -> list[str]:
        """Inputs of the whole that have no default, in their order."""
        inputs = self._model.graph.inputs
        return [str(v.name) for v in inputs if not v.is_initializer()]

    def part(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> ir.Model:
        """Cut out what lies between some values and others, as a model of its own.

        Args:
            inputs: arrays by name, for the types of the new inputs.
        """
        known = {name for node in self.nodes for name in (*node.taken, *node.made)}
        names = [name for name in inputs if name in known]
        graph = ir.convenience.extract(self._model.graph, names, list(wanted))
        for value in graph.inputs:
            array = inputs[str(value.name)]
            value.dtype = ir.DataType.from_numpy(array.dtype)
            value.shape = ir.Shape([None] * array.ndim)
        graph.opset_imports.update(self._model.opset_imports)
        return ir.Model(graph, ir_version=self._model.ir_version)


def is_below(path: str, outer: str) -> bool:
    """Return whether a path lies within another and is not that itself."""
    return path != outer and (not outer or path.startswith(outer + "."))


def is_within(path: str, stages: Iterable[str]) -> bool:
    """Return whether a path is one of some stages or lies within one."""
    return any(path == stage or is_below(path, stage) for stage in stages)


def _lent(graph: ir.Graph) -> dict[str, np.ndarray]:
    """Turn the large weights of a part into inputs; return them by name."""
    found = {}
    for name, value in list(graph.initializers.items()):
        weight = value.const_value
        if weight is None or weight.nbytes < _LENT_BYTES or value.is_graph_input():
            continue
        if weight.dtype.numpy().isbuiltin == 1:  # others NumPy cannot hand over
            found[name] = weight.numpy()
            del graph.initializers[name]
            value.const_value, value.type = None, ir.TensorType(weight.dtype)
            value.shape = ir.Shape(weight.shape.numpy())
            graph.inputs.append(value)
    return found


def _described(node: ir.Node) -> GraphNode:
    attributes = node.attributes.values()
    graphs = [a.as_graph() for a in attributes if a.type is ir.AttributeType.GRAPH]
    inner = [n for graph in graphs for n in graph.all_nodes()]
    own = {value for n in inner for value in n.outputs}
    own |= {value for graph in graphs for value in graph.inputs}
    used = dict.fromkeys(
        v for n in (node, *inner) for v in n.inputs if v is not None and v not in own
    )
    weights = [value.const_value for value in used if value.is_initializer()]
    return GraphNode(
        str(node.name),
        node.op_type,
        module_of(node) or "",
        tuple(str(value.name) for value in used if not value.is_initializer()),
        tuple(str(value.name) for value in node.outputs if value.name),
        sum(weight.nbytes for weight in weights if weight is not None),
    )
