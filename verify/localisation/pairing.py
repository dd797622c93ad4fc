"""The nodes of two graphs, paired: within their module, in order, by what they do.

Names alone do not pair two graphs: a node more in a module shifts the numbers of all that
follow.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.graph import module_of

# Constants up to this size tell nodes apart by value; larger ones by name.
SMALL = 8


@dataclass(frozen=True, eq=False)
class Spot:
    """A node where it stands.

    Attributes:
        module: path; of a node in a branch or a body that of the node around it.
        place: empty in the main graph, else the attributes that lead there.
    """

    node: ir.Node
    module: str
    place: str

    @property
    def name(self) -> str:
        """The node's own name, or what stands for one."""
        return str(self.node.name or f"{self.module}/{self.node.op_type}".lstrip("/"))


class Side:
    """A graph laid out for comparison: nodes in order, weights by name, users of values."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.spots: list[Spot] = []
        self.weights: dict[str, ir.TensorProtocol] = {}
        self.inputs: dict[int, tuple[object, ...]] = {}
        self.users: dict[str, list[Spot]] = {}
        self._lay_out(model.graph, "", "")
        for function in model.functions.values():
            self._lay_out(function, "", f"function {function.name}")
        for i, given in enumerate(model.graph.inputs):
            self.inputs[id(given)] = ("input", i)

    @cached_property
    def by_node(self) -> dict[int, Spot]:
        """Where nodes stand, by their ids."""
        return {id(spot.node): spot for spot in self.spots}

    def _lay_out(self, graph: ir.Graph | ir.Function, module: str, place: str) -> None:
        if isinstance(graph, ir.Graph):
            for name, value in graph.initializers.items():
                if value.const_value is not None:
                    self.weights[name] = value.const_value
        else:
            for i, given in enumerate(graph.inputs):
                self.inputs[id(given)] = (place, i)
        for node in graph:
            path = module_of(node)
            spot = Spot(node, module if path is None else path, place)
            for taken in dict.fromkeys(weight_name(used) for used in node.inputs):
                if taken is not None:
                    self.users.setdefault(taken, []).append(spot)
            if node.op_type == "Constant" and node.outputs[0].name:
                constant = ir.convenience.get_const_tensor(node.outputs[0])
                if constant is not None:
                    self.weights[str(node.outputs[0].name)] = constant
                    continue
            self.spots.append(spot)
            for attribute, inner in inner_graphs(node):
                for i, given in enumerate(inner.inputs):
                    self.inputs[id(given)] = (node, attribute, i)
                self._lay_out(inner, spot.module, f"{place}/{attribute}")

    def array(self, name: str) -> np.ndarray:
        """Return a weight's values."""
        return self.weights[name].numpy()

    def key(self, spot: Spot) -> tuple[object, ...]:
        """Say what a node does, so that equal nodes have equal keys."""
        node = spot.node
        attributes = sorted(
            f"{name}={plain(attribute)}"
            for name, attribute in node.attributes.items()
            if attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
        )
        return (node.domain, node.op_type, *map(self._key_of, node.inputs), *attributes)

    def _key_of(self, value: ir.Value | None) -> object:
        name = weight_name(value)
        if value is None or name is None:
            maker = None if value is None else value.producer()
            return None if value is None else "value" if maker is None else maker.op_type
        tensor = self.weights.get(name)
        if tensor is None or tensor.size > SMALL:
            return name
        return tensor.numpy().tobytes()


def paired(expected: Side, found: Side) -> list[tuple[Spot, Spot]]:
    """Return the nodes that stand for each other, in the order of the expected graph."""
    pairs = list[tuple[Spot, Spot]]()
    groups: tuple[dict[object, list[Spot]], dict[object, list[Spot]]] = ({}, {})
    for side, group in zip((expected, found), groups, strict=True):
        for spot in side.spots:
            group.setdefault((spot.module, spot.place), []).append(spot)
    for place, before in groups[0].items():
        pairs += _aligned((expected, before), (found, groups[1].get(place, [])))
    order = {id(spot): i for i, spot in enumerate(expected.spots)}
    return sorted(pairs, key=lambda pair: order[id(pair[0])])


def _aligned(
    expected: tuple[Side, list[Spot]], found: tuple[Side, list[Spot]]
) -> list[tuple[Spot, Spot]]:
    (one, before), (other, after) = expected, found
    keys = {id(spot): one.key(spot) for spot in before}
    keys |= {id(spot): other.key(spot) for spot in after}
    pairs: list[tuple[Spot, Spot]] = []
    left: tuple[list[Spot], list[Spot]] = ([], [])

    def align(a: list[Spot], b: list[Spot], level: int) -> None:
        """Pair runs of equal keys; what lies between them by ever less of the key."""
        cuts = (None, 2, 0)
        kinds = [[keys[id(spot)][: cuts[level]] for spot in side] for side in (a, b)]
        matcher = difflib.SequenceMatcher(None, kinds[0], kinds[1], autojunk=False)
        for tag, i, i_end, j, j_end in matcher.get_opcodes():
            if tag == "equal":
                pairs.extend(zip(a[i:i_end], b[j:j_end], strict=True))
            elif tag == "replace" and level < 1:
                align(a[i:i_end], b[j:j_end], level + 1)
            elif tag == "replace" and i_end - i == j_end - j:
                pairs.extend(zip(a[i:i_end], b[j:j_end], strict=True))
            else:
                left[0].extend(a[i:i_end])
                left[1].extend(b[j:j_end])

    align(before, after, 0)
    # What stands in another order, though it is the same.
    for spot in left[0]:
        twin = next((s for s in left[1] if keys[id(s)] == keys[id(spot)]), None)
        if twin is not None:
            left[1].remove(twin)
            pairs.append((spot, twin))
    return pairs


def inner_graphs(node: ir.Node) -> Iterator[tuple[str, ir.Graph]]:
    """Yield the branches and bodies of a node with the attributes they are."""
    for name, attribute in node.attributes.items():
        if attribute.type is ir.AttributeType.GRAPH:
            yield name, attribute.as_graph()
        elif attribute.type is ir.AttributeType.GRAPHS:
            for i, graph in enumerate(attribute.as_graphs()):
                yield f"{name}[{i}]", graph


def weight_name(value: ir.Value | None) -> str | None:
    """Return the name of a constant that a graph holds; None of what is computed or given."""
    if value is None:
        return None
    maker = value.producer()
    constant = maker is not None and maker.op_type == "Constant"
    constant = constant and ir.convenience.get_const_tensor(value) is not None
    return str(value.name) if constant or value.is_initializer() else None


def plain(attribute: ir.Attr) -> object:
    """Return an attribute's value as plain Python or NumPy."""
    if attribute.is_ref():
        return f"the function's {attribute.ref_attr_name}"
    if attribute.type is ir.AttributeType.TENSOR:
        return attribute.as_tensor().numpy()
    value = attribute.value
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
