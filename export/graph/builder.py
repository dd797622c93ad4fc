"""Building an ONNX graph by hand, in expressions.

For components that are no network: control flow, float64 and lengths that depend on values
are what torch's exporter turns into something else from one version to the next.  A built
graph has exactly the nodes asked for, so its bytes depend on this code alone.

Only operators of the default domain whose meaning is the same from opset 18 to 23 are used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from vampnet_onnx.configs.manifest import TensorSignature

from .module_paths import MODULE_KEY
from .names import numbered
from .signature import ir_version_of

Number = bool | int | float
Attribute = int | float | str | Sequence[int] | ir.Graph


def _operator(kind: str, dtype: object = None) -> Callable[[Var, Operand], Var]:
    """Return a method that adds a node of a value and an operand."""

    def method(self: Var, other: Operand) -> Var:
        return self.op(kind, other, dtype=dtype)

    return method


class Var:
    """A value of a graph being built; operators on it add nodes.

    Operands are values or Python numbers, which take the value's dtype.
    """

    def __init__(self, builder: GraphBuilder, value: ir.Value, dtype: np.dtype) -> None:
        self.builder = builder
        self.value = value
        self.dtype = dtype

    def op(
        self, kind: str, *others: Operand, dtype: object = None, **attributes: Attribute
    ) -> Var:
        """Add a node with this value as its first input and one output.

        The output's dtype is this value's where none is given.
        """
        inputs = [self, *(self.builder.like(self, other) for other in others)]
        return self.builder.node(kind, inputs, dtypes=[dtype or self.dtype], **attributes)[0]

    __add__ = _operator("Add")
    __sub__ = _operator("Sub")
    __mul__ = _operator("Mul")
    __truediv__ = _operator("Div")
    __floordiv__ = _operator("Div")  # of integers, none of them negative
    __mod__ = _operator("Mod")  # of integers, with the sign of the divisor
    __matmul__ = _operator("MatMul")
    __and__ = _operator("And")
    __or__ = _operator("Or")
    __lt__ = _operator("Less", np.bool_)
    __le__ = _operator("LessOrEqual", np.bool_)
    __gt__ = _operator("Greater", np.bool_)
    __ge__ = _operator("GreaterOrEqual", np.bool_)
    equals = _operator("Equal", np.bool_)
    minimum = _operator("Min")
    maximum = _operator("Max")

    def __neg__(self) -> Var:
        return self.op("Neg")

    def __invert__(self) -> Var:
        return self.op("Not")

    def cast(self, dtype: object) -> Var:
        """Convert; floats to integers by truncation."""
        to = np.dtype(dtype)  # type: ignore[call-overload]
        if to == self.dtype:
            return self
        return self.op("Cast", dtype=to, to=ir.DataType.from_numpy(to).value)

    def extent(self, axis: int) -> Var:
        """Return the extent of an axis, int64 [].  A negative axis counts from the end."""
        last = {"end": axis + 1} if axis != -1 else {}
        shape = self.op("Shape", dtype=np.int64, start=axis, **last)
        extent = shape.reshape()
        self.builder.vectors[extent.value] = shape
        return extent

    def reshape(self, *shape: Dimension) -> Var:
        """Give another shape; without arguments a scalar's."""
        return self.op("Reshape", self.builder.vector(*shape))

    def transpose(self, *axes: int) -> Var:
        """Permute the axes."""
        return self.op("Transpose", perm=axes)

    def slice(self, axis: int, start: Dimension, stop: Dimension) -> Var:
        """Take [start, stop) of an axis, clipped to what is there."""
        at = [self.builder.vector(item) for item in (start, stop, axis)]
        return self.op("Slice", *at)

    def pad(
        self, axis: int, before: Dimension, after: Dimension, *, mode: str = "constant"
    ) -> Var:
        """Pad an axis with zeros, or in mode ``edge`` with its first and last value."""
        amounts, axes = self.builder.vector(before, after), self.builder.vector(axis)
        inputs: list[Var | None] = [self, amounts, None, axes]
        return self.builder.node("Pad", inputs, dtypes=[self.dtype], mode=mode)[0]

    def reduce(self, kind: str, axis: int, *, keep: bool = False) -> Var:
        """Reduce an axis by ``ReduceSum``, ``ReduceMax`` and so on."""
        return self.op(kind, self.builder.vector(axis), keepdims=int(keep))

    def where(self, yes: Operand, no: Operand) -> Var:
        """Choose by this condition."""
        like = yes if isinstance(yes, Var) else no
        assert isinstance(like, Var), "where needs one value to take the dtype from"
        chosen = [self.builder.like(like, item) for item in (yes, no)]
        return self.builder.node("Where", [self, *chosen], dtypes=[like.dtype])[0]

    def sort(self, *, descending: bool = False, count: Var | None = None) -> tuple[Var, Var]:
        """Sort the last axis, and return so many values (int64 [], or all) and their places.

        Of equal values the first comes first.
        """
        wanted = self.extent(-1) if count is None else count
        values, order = self.builder.node(
            "TopK",
            [self, self.builder.vector(wanted)],
            dtypes=[self.dtype, np.int64],
            largest=int(descending),
            sorted=1,
            axis=-1,
        )
        return values, order


Operand = Var | Number
Dimension = Var | int
Shape = Sequence[int | str]


class GraphBuilder:
    """Builds one graph.

    Nodes and constants are named after the scope they are made in, and numbered in the order
    of making.
    """

    def __init__(self) -> None:
        self._inputs: list[ir.Value] = []
        self._nodes: list[ir.Node] = []
        self._scope = ""
        self._counts: Counter[str] = Counter()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Var] = {}
        self._weights: list[ir.Value] = []  # of models that were embedded
        self.vectors: dict[ir.Value, Var] = {}  # of extents: the same number, int64 [1]

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Build under a path, which localisation reads."""
        before = self._scope
        self._scope = f"{before}.{name}" if before else name
        try:
            yield
        finally:
            self._scope = before

    def node(
        self,
        kind: str,
        inputs: Sequence[Var | None],
        *,
        dtypes: Sequence[object],
        **attributes: Attribute,
    ) -> list[Var]:
        """Add a node and return its outputs, one a dtype."""
        name = self._numbered(kind)
        node = ir.node(
            kind,
            [None if item is None else item.value for item in inputs],
            attributes=dict(attributes),
            num_outputs=len(dtypes),
            name=name,
            metadata_props={MODULE_KEY: self._scope},
        )
        outputs = []
        for i, (value, dtype) in enumerate(zip(node.outputs, dtypes, strict=True)):
            value.name = f"{name}:{i}" if i else name
            outputs.append(Var(self, value, np.dtype(dtype)))  # type: ignore[call-overload]
        self._nodes.append(node)
        return outputs

    def constant(self, value: np.ndarray | Number, dtype: object = None) -> Var:
        """Return a constant; equal ones are one."""
        array = np.ascontiguousarray(np.asarray(value, dtype))  # type: ignore[call-overload]
        array = array.reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            tensor = ir.tensor(array, name=self._numbered("constant"))
            held = ir.Value(
                name=tensor.name,
                type=_type(array.dtype),
                shape=ir.Shape(array.shape),
                const_value=tensor,
            )
            self._constants[key] = Var(self, held, array.dtype)
        return self._constants[key]

    def like(self, value: Var, item: Operand) -> Var:
        """Return a number as a constant of a value's dtype, and a value as it is."""
        return item if isinstance(item, Var) else self.constant(item, value.dtype)

    def vector(self, *items: Dimension) -> Var:
        """Return integers and int64 scalars as one int64 vector, for shapes and axes."""
        if all(isinstance(item, int) for item in items):
            return self.constant(np.array(items, np.int64))
        parts = [self._one_long(item) for item in items]
        return parts[0] if len(parts) == 1 else self.concat(0, *parts)

    def _one_long(self, item: Dimension) -> Var:
        if not isinstance(item, Var):
            return self.constant(np.array([item], np.int64))
        if item.value in self.vectors:
            return self.vectors[item.value]
        return item.op("Reshape", self.constant(np.array([1], np.int64)))

    def concat(self, axis: int, *parts: Var) -> Var:
        """Join along an axis."""
        return self.node("Concat", parts, dtypes=[parts[0].dtype], axis=axis)[0]

    def range(self, stop: Var) -> Var:
        """Return 0, 1, ... below stop (int64 []), int64 [stop]."""
        return self.constant(0, np.int64).op("Range", stop, self.constant(1, np.int64))

    def when(
        self, condition: Var, then: Callable[[], Var], otherwise: Callable[[], Var]
    ) -> Var:
        """Compute one of two branches by a condition (bool []); the other costs nothing.

        Both build a result of the same dtype and rank.
        """
        first, dtypes = self._inner("branch", [], lambda: [then()])
        second, _ = self._inner("branch", [], lambda: [otherwise()])
        return self.node(
            "If", [condition], dtypes=dtypes, then_branch=first, else_branch=second
        )[0]

    def scan(
        self,
        body: Callable[[Var, Sequence[Var]], tuple[Var, Sequence[Var]]],
        state: Var,
        sequences: Sequence[Var],
        *,
        shapes: Sequence[Shape],
        results: Sequence[Shape],
    ) -> tuple[Var, list[Var]]:
        """Go through sequences along their first axis, carrying a state.

        Args:
            body: builds one step: from the state and one element of each sequence to the next
                state and one element of each result.
            sequences: of the same extent along their first axis.
            shapes: of the state and of one element of each sequence.  Some runtimes infer
                none inside a body.
            results: shapes of one element of each result.

        Returns:
            The last state and the results, stacked along a new first axis.
        """
        items = zip((state, *sequences), shapes, strict=True)
        inner = [self._element(item.dtype, shape) for item, shape in items]

        def step() -> list[Var]:
            after, elements = body(inner[0], inner[1:])
            return [after, *elements]

        graph, dtypes = self._inner("body", inner, step)
        for end, shape in zip(graph.outputs, (shapes[0], *results), strict=True):
            end.shape = ir.Shape(shape)
        last, *stacked = self.node(
            "Scan",
            [state, *sequences],
            dtypes=dtypes,
            body=graph,
            num_scan_inputs=len(sequences),
        )
        return last, stacked

    def loop(
        self,
        body: Callable[[Var, Sequence[Var]], tuple[Var, Sequence[Var], Sequence[Var]]],
        count: Var,
        states: Sequence[Var],
        *,
        shapes: Sequence[Shape],
        results: Sequence[Shape],
    ) -> tuple[list[Var], list[Var]]:
        """Compute a body several times, carrying states.

        Args:
            body: builds one turn: from its number, int64 [] from 0, and the states to whether
                another one follows, bool [], the next states and the turn's results.
            count: of turns at most, int64 [].
            shapes: of the states.  Some runtimes infer none inside a body.
            results: shapes of one turn's results.

        Returns:
            The last states and the results, stacked along a new first axis.
        """
        number, going = (self._element(np.dtype(kind), ()) for kind in (np.int64, np.bool_))
        items = zip(states, shapes, strict=True)
        inner = [self._element(item.dtype, shape) for item, shape in items]

        def turn() -> list[Var]:
            follows, after, made = body(number, inner)
            return [follows, *after, *made]

        graph, dtypes = self._inner("body", [number, going, *inner], turn)
        for end, shape in zip(graph.outputs, ((), *shapes, *results), strict=True):
            end.shape = ir.Shape(shape)
        found = self.node(
            "Loop", [count, self.constant(True), *states], dtypes=dtypes[1:], body=graph
        )
        return found[: len(states)], found[len(states) :]

    def embed(self, model: ir.Model, given: Mapping[str, Var]) -> list[Var]:
        """Take over the nodes of a model, whose weights become weights of this graph.

        Args:
            model: has nothing left in it afterwards.
            given: what takes the place of its inputs, by name.

        Returns:
            What its outputs were.
        """
        graph = model.graph
        for value in graph.inputs:
            for user, index in tuple(value.uses()):
                user.replace_input_with(index, given[str(value.name)].value)
        ends = list(graph.outputs)
        graph.outputs.clear()
        for name in list(graph.initializers):
            self._weights.append(graph.initializers.pop(name))
        nodes = list(graph)
        graph.remove(nodes)
        self._nodes += nodes
        return [Var(self, end, _numpy_type(end)) for end in ends]

    def finish(
        self, outputs: Sequence[TensorSignature], results: Mapping[str, Var], opset: int
    ) -> ir.Model:
        """Return the model with these results as its outputs."""
        ends = []
        for signature in outputs:
            result = results[signature.name]
            if result.dtype != np.dtype(signature.dtype):
                raise TypeError(f"{signature} is built as {result.dtype}")
            end = result.op("Identity")
            end.value.name = signature.name
            _declare(end.value, signature)
            ends.append(end.value)
        held = [constant.value for constant in self._constants.values()] + self._weights
        graph = ir.Graph(
            self._inputs,
            ends,
            nodes=self._nodes,
            initializers=sorted(held, key=lambda value: str(value.name)),
            opset_imports={"": opset},
            name="main",
        )
        model = ir.Model(graph, ir_version=ir_version_of(opset))
        common.RemoveUnusedNodesPass()(model)
        return model

    def input(self, signature: TensorSignature) -> Var:
        """Return an input of the graph."""
        value = ir.Value(name=signature.name)
        _declare(value, signature)
        self._inputs.append(value)
        return Var(self, value, np.dtype(signature.dtype))

    def _element(self, dtype: np.dtype, shape: Shape) -> Var:
        """Return an input of a body."""
        name = self._numbered("element")
        value = ir.Value(name=name, type=_type(dtype), shape=ir.Shape(shape))
        return Var(self, value, dtype)

    def _inner(
        self, name: str, inputs: Sequence[Var], build: Callable[[], Sequence[Var]]
    ) -> tuple[ir.Graph, list[np.dtype]]:
        """Return a graph of what is made in building its results, and their dtypes."""
        outside, self._nodes = self._nodes, []
        ends = [item.op("Identity") for item in build()]
        nodes, self._nodes = self._nodes, outside
        for item in ends:
            item.value.type = _type(item.dtype)
        given, results = ([item.value for item in part] for part in (inputs, ends))
        graph = ir.Graph(given, results, nodes=nodes, name=self._numbered(name))
        return graph, [item.dtype for item in ends]

    def _numbered(self, kind: str) -> str:
        return numbered(self._counts, self._scope, kind)


def _declare(value: ir.Value, signature: TensorSignature) -> None:
    value.type = _type(np.dtype(signature.dtype))
    value.shape = ir.Shape(signature.shape)


def _numpy_type(value: ir.Value) -> np.dtype:
    assert value.dtype is not None, f"{value.name} has no type"
    return value.dtype.numpy()


def _type(dtype: np.dtype) -> ir.TensorType:
    return ir.TensorType(ir.DataType.from_numpy(dtype))
