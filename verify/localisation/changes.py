"""What happened to a graph: nodes, attributes, wiring and weights against an expected one.

Nodes are paired (`.pairing`), values by the nodes that make them, weights by who takes them.
Nothing here knows what the graph is of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir

from vampnet_onnx.verify.numbers.changes import describe_change, same_bits
from vampnet_onnx.verify.numbers.metrics import relative_l2

from .graph import is_below
from .pairing import SMALL, Side, Spot, inner_graphs, paired, plain, weight_name

NODE_ADDED, NODE_REMOVED, NODE_CHANGED = "node added", "node removed", "node changed"
WEIGHT_ADDED, WEIGHT_REMOVED = "weight added", "weight removed"
WEIGHT_CHANGED = "weight changed"
SIGNATURE, OPSET = "signature", "opset"

_SHOWN = 4
# Operators whose two inputs may stand either way round.
_EITHER_WAY = frozenset({"Add", "Mul", "Max", "Min", "And", "Or", "Xor", "Equal"})


@dataclass(frozen=True)
class Change:
    """One thing that differs.

    Attributes:
        kind: one of the constants of this module.
        name: of the node, the weight, the input or output; or the path of a whole module.
        module: path of the module it belongs to.
        words: what is different, to be read after the name.
        relative: relative L2 of a changed weight; NaN where there is none.
        also: further modules that use the same weight.
        takers: names of the nodes that take a weight, in the order of the graph.
    """

    kind: str
    name: str
    module: str
    words: str
    relative: float = float("nan")
    also: tuple[str, ...] = ()
    takers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.words}"


def graph_changes(expected: ir.Model, found: ir.Model) -> tuple[Change, ...]:
    """Return all in which a graph differs from an expected one; empty if nothing does.

    Names of nodes and values are not compared, nor is metadata.
    """
    if expected is found:
        return ()
    compared = _Comparison(Side(expected), Side(found))
    return (
        *_opset_changes(expected, found),
        *_signature_changes(expected, found),
        *compared.node_changes(),
        *compared.weight_changes(),
    )


def what_happened(changes: Sequence[Change], module: str) -> str:
    """Say what differs at or below a module; where nothing does, around it.

    Args:
        changes: of the whole graph.
        module: path, the empty one for the whole.

    Returns:
        Words for a line of a report; empty if there are no changes.
    """
    inside = [change for change in changes if _concerns(change, module)]
    if not inside and module:
        outer = module.rpartition(".")[0]
        around = what_happened(changes, outer)
        if not around or around.startswith("nothing differs inside"):
            return around
        where = f"around it, in {outer}" if outer else "elsewhere in the graph"
        return f"nothing differs inside; {where}: {around}"
    kinds = {change.kind for change in inside if not _goes_with_nodes(change, inside)}
    words = [
        *_many(inside, NODE_REMOVED, module),
        *_many(inside, NODE_ADDED, module),
        *(
            _from_inside(change, module)
            for change in inside
            if change.kind not in (NODE_REMOVED, NODE_ADDED)
            and not _goes_with_nodes(change, inside)
        ),
    ]
    more = len(words) - _SHOWN
    said = "; ".join(words[:_SHOWN]) + (f"; and {more} changes more" if more > 0 else "")
    if kinds <= {NODE_ADDED, NODE_REMOVED, NODE_CHANGED} and kinds != {NODE_REMOVED}:
        return f"weights are equal, the operators differ: {said}" if said else ""
    return said


def _goes_with_nodes(change: Change, others: Sequence[Change]) -> bool:
    """Return whether nodes that are told of explain a weight that is missing or new."""
    kinds = {WEIGHT_REMOVED: NODE_REMOVED, WEIGHT_ADDED: NODE_ADDED}
    if change.kind not in kinds:
        return False
    nodes = [other for other in others if other.kind == kinds[change.kind]]
    return any(
        change.name in node.words
        or (node.name == node.module and f"{change.module}.".startswith(f"{node.module}."))
        for node in nodes
    )


def _many(changes: Sequence[Change], kind: str, module: str) -> list[str]:
    """Tell of nodes that one side alone has: whole modules each, more than a few by number."""
    found = [change for change in changes if change.kind == kind]
    words = [_from_inside(change, module) for change in found if change.name == change.module]
    nodes = [_from_inside(change, module) for change in found if change.name != change.module]
    if len(nodes) <= 2:
        return [*words, *nodes]
    names = ", ".join(node.split(" ")[0] for node in nodes[:_SHOWN])
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    state = "missing" if kind == NODE_REMOVED else "new"
    return [*words, f"{len(nodes)} nodes are {state} ({names}{more})"]


def _concerns(change: Change, module: str) -> bool:
    modules = (change.module, *change.also)
    if not module or any(path == module or is_below(path, module) for path in modules):
        return True
    whole = change.kind in (NODE_REMOVED, NODE_ADDED) and change.name == change.module
    return whole and is_below(module, change.module)


def _from_inside(change: Change, module: str) -> str:
    """Name what changed from the module on, as a reader of that module would."""
    inside = module and change.name.startswith((f"{module}.", f"{module}/"))
    name = change.name[len(module) + 1 :] if inside else change.name
    return f"{'it' if name == module and module else name} {change.words}"


class _Comparison:
    """Both sides, their nodes paired."""

    def __init__(self, expected: Side, found: Side) -> None:
        self.expected, self.found = expected, found
        self.pairs = paired(expected, found)
        self._twin = {id(b.node): id(a.node) for a, b in self.pairs}
        known = {id(a.node) for a, _ in self.pairs}
        self._removed = [spot for spot in expected.spots if id(spot.node) not in known]
        self._added = [spot for spot in found.spots if id(spot.node) not in self._twin]
        # Weights by name on both sides, with the nodes that take them at the same place.
        self._taken: dict[tuple[str, str], list[Spot]] = {}

    def node_changes(self) -> Iterator[Change]:
        """Yield nodes removed, added and changed."""
        yield from _lone_nodes(self._removed, self.expected, self.found, NODE_REMOVED)
        yield from _lone_nodes(self._added, self.found, self.expected, NODE_ADDED)
        for a, b in self.pairs:
            yield from self._node(a, b)
        yield from self._graph_outputs()

    def weight_changes(self) -> Iterator[Change]:
        """Yield weights changed, removed and added; after the nodes."""
        seen: tuple[set[str], set[str]] = (set(), set())
        for (a, b), users in self._taken.items():
            seen[0].add(a)
            seen[1].add(b)
            yield from self._weight(a, b, users)
        for name in sorted(self.expected.weights.keys() - seen[0]):
            if name in self.found.weights and name not in seen[1]:
                yield from self._weight(name, name, self.found.users.get(name, []))
            elif name not in self.found.weights:
                yield _lone(WEIGHT_REMOVED, name, self.expected, "is missing")
        for name in sorted(self.found.weights.keys() - seen[1]):
            if name not in self.expected.weights:
                unused = "" if self.found.users.get(name) else ", and nothing uses it"
                yield _lone(WEIGHT_ADDED, name, self.found, f"is new{unused}")

    def _node(self, a: Spot, b: Spot) -> Iterator[Change]:
        changed = partial(Change, NODE_CHANGED, b.name, b.module)
        if (a.node.op_type, a.node.domain) != (b.node.op_type, b.node.domain):
            yield changed(f"is {b.node.op_type}, expected {a.node.op_type}")
        else:
            for words in _attribute_changes(a.node, b.node):
                yield changed(words)
        before, after = list(a.node.inputs), list(b.node.inputs)
        if a.node.op_type in _EITHER_WAY and len(before) == len(after) == 2:
            ways = (after, after[::-1])
            after = min(ways, key=lambda way: self._unlike(before, way))
        for i in range(max(len(before), len(after))):
            x = before[i] if i < len(before) else None
            y = after[i] if i < len(after) else None
            words = self._input(x, y, b)
            if words:
                yield changed(words)

    def _unlike(
        self, before: Sequence[ir.Value | None], after: Sequence[ir.Value | None]
    ) -> int:
        return sum(
            self._source(x, 0) != self._source(y, 1)
            for x, y in zip(before, after, strict=True)
        )

    def _input(self, x: ir.Value | None, y: ir.Value | None, user: Spot) -> str:
        """Compare what a node takes at one place; weights are kept for later."""
        a, b = weight_name(x), weight_name(y)
        if a is not None and b is not None:
            self._taken.setdefault((a, b), []).append(user)
            return ""
        if a is not None and y is None:
            return f"lacks {a}: its {_role(a)} is missing"
        if self._source(x, 0) == self._source(y, 1) or self._explained(x, y):
            return ""
        return f"takes {_said(y)}, expected {_said(x)}"

    def _source(self, value: ir.Value | None, side: int) -> object:
        """Say where a value comes from, alike on both sides."""
        if value is None:
            return None
        if weight_name(value) is not None:
            return "weight"
        maker = value.producer()
        if maker is not None:
            return (self._same(maker, side), value.index())
        origin = (self.expected, self.found)[side].inputs.get(id(value))
        if origin is not None and isinstance(origin[0], ir.Node):
            return (self._same(origin[0], side), *origin[1:])
        return origin

    def _same(self, node: ir.Node, side: int) -> object:
        """Return one and the same thing for paired nodes."""
        return self._twin.get(id(node), id(node)) if side else id(node)

    def _explained(self, x: ir.Value | None, y: ir.Value | None) -> bool:
        """Return whether nodes that were removed or added explain another source."""
        return bool(
            self._behind(x, 0, {id(s.node) for s in self._removed})
            & self._behind(y, 1, {id(s.node) for s in self._added})
        )

    def _behind(self, value: ir.Value | None, side: int, lone: set[int]) -> set[object]:
        """Return the sources of a value, through nodes that only this side has."""
        found, ahead, seen = set[object](), [value], set[int]()
        while ahead:
            one = ahead.pop()
            maker = None if one is None else one.producer()
            if maker is not None and id(maker) in lone:
                if id(maker) not in seen:
                    seen.add(id(maker))
                    ahead += maker.inputs
            elif one is not None:
                name = weight_name(one)
                found.add(("weight", name) if name else self._source(one, side))
        return found

    def _graph_outputs(self) -> Iterator[Change]:
        """Compare what the graph and its branches and bodies give."""
        ends = [("", self.expected.graph, self.found.graph)]
        for a, b in self.pairs:
            other = dict(inner_graphs(b.node))
            ends += [
                (f"{b.name} ({name})", inner, other[name])
                for name, inner in inner_graphs(a.node)
                if name in other
            ]
        for where, before, after in ends:
            # Another number of outputs is told as a change of the signature.
            for x, y in zip(before.outputs, after.outputs, strict=False):
                words = self._end(x, y)
                if words:
                    maker = y.producer()
                    spot = None if maker is None else self.found.by_node.get(id(maker))
                    name = where or f"output {y.name}"
                    yield Change(NODE_CHANGED, name, spot.module if spot else "", words)

    def _end(self, x: ir.Value, y: ir.Value) -> str:
        a, b = weight_name(x), weight_name(y)
        if a is not None and b is not None:
            self._taken.setdefault((a, b), [])
            return ""
        if self._source(x, 0) == self._source(y, 1) or self._explained(x, y):
            return ""
        return f"gives {_said(y)}, expected {_said(x)}"

    def _weight(self, a: str, b: str, users: Sequence[Spot]) -> Iterator[Change]:
        before, after = self.expected.array(a), self.found.array(b)
        if same_bits(before, after):
            return
        modules = tuple(dict.fromkeys(spot.module for spot in users))
        names = [spot.name for spot in users]
        if a != b and self._is_there(b) and self._is_there(a):
            for spot in users:
                words = f"takes {b}, expected {a}"
                yield Change(NODE_CHANGED, spot.name, spot.module, words)
            return
        words = describe_change(before, after, self._others(a, after.size))
        if after.size == 1 and names:
            more = f" and {len(names) - 1} nodes more" if len(names) > 1 else ""
            words += f" (taken by {names[0]}{more})"
        distance = float("nan")
        if before.shape == after.shape and before.dtype.kind == after.dtype.kind == "f":
            distance = relative_l2(before, after)
        module = modules[0] if modules else ""
        yield Change(WEIGHT_CHANGED, a, module, words, distance, modules[1:], tuple(names))

    def _is_there(self, name: str) -> bool:
        """Return whether both sides have a weight of a name, and the same one."""
        if name not in self.expected.weights or name not in self.found.weights:
            return False
        return same_bits(self.expected.array(name), self.found.array(name))

    def _others(self, name: str, size: int) -> Mapping[str, np.ndarray]:
        """Return the expected weights of one size but for one of them."""
        if size <= SMALL:
            return {}
        return {
            other: tensor.numpy()
            for other, tensor in self.expected.weights.items()
            if other != name and tensor.size == size
        }


def _lone_nodes(spots: Sequence[Spot], own: Side, other: Side, kind: str) -> Iterator[Change]:
    """Yield nodes that one side alone has; those of a module it alone has as one."""
    there = {path for spot in other.spots for path in _upwards(spot.module)}
    whole: dict[str, list[Spot]] = {}
    for spot in spots:
        path = next((p for p in reversed(_upwards(spot.module)) if p not in there), None)
        if path is not None and not spot.place:
            whole.setdefault(path, []).append(spot)
    told = {id(spot) for inside in whole.values() for spot in inside}
    state = "is missing" if kind == NODE_REMOVED else "is new"
    for path, inside in whole.items():
        operators = ", ".join(dict.fromkeys(spot.node.op_type for spot in inside))
        count = f"{len(inside)} node{'s' if len(inside) > 1 else ''}"
        yield Change(kind, path, path, f"{state} ({count}: {operators})")
    for spot in spots:
        if id(spot) not in told:
            weights = [name for value in spot.node.inputs if (name := weight_name(value))]
            # A scalar or a shape is no loss by itself.
            named = ", ".join(
                f"its {_role(name)} ({name})"
                for name in weights
                if name in own.weights
                and own.weights[name].size > 1
                and own.weights[name].dtype.is_floating_point()
            )
            words = f"{state}, and with it {named}" if named else state
            yield Change(kind, spot.name, spot.module, words)


def _upwards(path: str) -> list[str]:
    """Return a path and all above it but the root, the deepest first."""
    parts = path.split(".") if path else []
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def _lone(kind: str, name: str, side: Side, words: str) -> Change:
    users = side.users.get(name, [])
    modules = tuple(dict.fromkeys(spot.module for spot in users))
    takers = tuple(spot.name for spot in users)
    first = modules[0] if modules else ""
    return Change(kind, name, first, words, also=modules[1:], takers=takers)


def _role(name: str) -> str:
    """Return what a weight is to its module: the last part of its name."""
    last = name.rpartition(".")[2].rpartition("/")[2]
    return last.rpartition("_")[0] if last.rpartition("_")[2].isdecimal() else last


def _said(value: ir.Value | None) -> str:
    if value is None:
        return "nothing"
    maker = value.producer()
    return str(value.name) if maker is None else str(maker.name or value.name)


def _attribute_changes(a: ir.Node, b: ir.Node) -> Iterator[str]:
    for name in sorted({*a.attributes, *b.attributes}):
        before, after = a.attributes.get(name), b.attributes.get(name)
        kinds = {x.type for x in (before, after) if x is not None}
        if kinds & {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}:
            if before is None or after is None:
                yield f"{'lacks' if after is None else 'has also'} the graph {name}"
            continue
        wanted, value = (_value(x, a, name) for x in (before, after))
        if isinstance(wanted, np.ndarray) and isinstance(value, np.ndarray):
            words = describe_change(wanted, value)
            if words:
                yield f"attribute {name} {words}"
        elif _written(wanted) != _written(value):
            yield f"attribute {name} is {_written(value)}, expected {_written(wanted)}"


def _value(attribute: ir.Attr | None, node: ir.Node, name: str) -> object:
    """Return an attribute's value, what the operator's schema says where it is left out."""
    if attribute is not None:
        return plain(attribute)
    try:
        schema = onnx.defs.get_schema(node.op_type, node.domain or "")
    except onnx.defs.SchemaError:
        return None
    default = schema.attributes[name].default_value if name in schema.attributes else None
    if default is None or not default.type:
        return None
    return plain(ir.serde.deserialize_attribute(default))


def _written(value: object) -> str:
    if value is None:
        return "absent"
    if isinstance(value, float):
        return str(np.float32(value))  # which attributes are
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _opset_changes(expected: ir.Model, found: ir.Model) -> Iterator[Change]:
    before, after = expected.opset_imports, found.opset_imports
    for domain in sorted({*before, *after}):
        if before.get(domain) != after.get(domain):
            name = f"opset of {domain}" if domain else "opset"
            words = (
                f"is {after.get(domain, 'absent')}, expected {before.get(domain, 'absent')}"
            )
            yield Change(OPSET, name, "", words)


def _signature_changes(expected: ir.Model, found: ir.Model) -> Iterator[Change]:
    for kind in ("inputs", "outputs"):
        before, after = (
            {str(v.name): _type(v) for v in getattr(model.graph, kind)}
            for model in (expected, found)
        )
        for name in dict.fromkeys((*before, *after)):
            if before.get(name) != after.get(name):
                was, now = before.get(name, "absent"), after.get(name, "absent")
                yield Change(SIGNATURE, f"{kind[:-1]} {name}", "", f"is {now}, expected {was}")


def _type(value: ir.Value) -> str:
    dtype = "unknown" if value.dtype is None else value.dtype.name.lower()
    if value.shape is None:
        return dtype
    return f"{dtype}[{', '.join(str(d) for d in _dims(value.shape))}]"


def _dims(shape: ir.Shape) -> Iterable[object]:
    return (dim.value if isinstance(dim, ir.SymbolicDim) else dim for dim in shape.dims)
