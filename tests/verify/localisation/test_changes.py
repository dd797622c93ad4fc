"""What happened to a graph: every kind of change in words, and nothing of what is equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.support.planting import Sound
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.verify.localisation.changes import (
    NODE_ADDED,
    NODE_CHANGED,
    NODE_REMOVED,
    OPSET,
    SIGNATURE,
    WEIGHT_ADDED,
    WEIGHT_CHANGED,
    WEIGHT_REMOVED,
    Change,
    graph_changes,
    what_happened,
)

LAYER = "transformer.layers.1"


def changed(sound: Sound, change: Callable[[ir.Model], object]) -> tuple[Change, ...]:
    model = ir.load(sound.path)
    change(model)
    return graph_changes(ir.load(sound.path), model)


def weight(
    name: str, change: Callable[[np.ndarray], np.ndarray]
) -> Callable[[ir.Model], None]:
    def edit(model: ir.Model) -> None:
        value = model.graph.initializers[name]
        value.const_value = ir.tensor(change(value.const_value.numpy()), name=name)

    return edit


def nodes_of(model: ir.Model, path: str, kind: str = "") -> list[ir.Node]:
    inside = [n for n in model.graph if n.metadata_props[MODULE_KEY] == path]
    return [n for n in inside if not kind or n.op_type == kind]


def bypass(model: ir.Model, *nodes: ir.Node) -> None:
    """Take nodes out: what they make is what the first takes."""
    taken = next(v for v in nodes[0].inputs if v is not None and not v.is_initializer())
    ir.convenience.replace_all_uses_with(nodes[-1].outputs[0], taken)
    for node in reversed(nodes):
        model.graph.remove(node, safe=True)


def test_a_graph_is_equal_to_itself_whatever_its_names(sound: Sound) -> None:
    def rename(model: ir.Model) -> None:
        for i, node in enumerate(model.graph):
            node.name = f"n{i}"
            for value in node.outputs:
                if value not in model.graph.outputs:
                    value.name = f"v{i}"

    assert changed(sound, lambda model: None) == changed(sound, rename) == ()


def test_a_weight_is_named_with_what_happened_and_by_how_much(sound: Sound) -> None:
    name = f"{LAYER}.feed_forward.w_2.weight"
    (change,) = changed(sound, weight(name, lambda w: w * np.float32(1.001)))
    assert (change.kind, change.name, change.words) == (
        WEIGHT_CHANGED,
        name,
        "scaled by 1.001",
    )
    assert change.module == f"{LAYER}.feed_forward.w_2"
    assert change.relative == pytest.approx(1e-3, rel=1e-2)
    assert what_happened([change], change.module) == "weight scaled by 1.001"
    assert what_happened([change], LAYER) == "feed_forward.w_2.weight scaled by 1.001"
    other = what_happened([change], f"{LAYER}.norm_1")
    assert other.startswith("nothing differs inside; around it, in transformer.layers.1: ")


def test_another_weight_in_its_place_is_named(sound: Sound) -> None:
    name, other = f"{LAYER}.norm_1.weight", f"{LAYER}.norm_3.weight"

    def distinct(model: ir.Model) -> None:  # all norms of a fresh model are ones
        weight(other, lambda w: np.arange(len(w), dtype=np.float32))(model)

    expected, found = ir.load(sound.path), ir.load(sound.path)
    distinct(expected), distinct(found)
    weight(name, lambda w: np.arange(len(w), dtype=np.float32))(found)
    (change,) = graph_changes(expected, found)
    assert change.words == f"equals {other}"


def test_an_epsilon_that_all_share_and_one_that_differs(sound: Sound) -> None:
    def epsilon(model: ir.Model) -> ir.Value:
        (add,) = nodes_of(model, f"{LAYER}.norm_1", "Add")
        return next(v for v in add.inputs if v is not None and v.is_initializer())

    def all_of_them(model: ir.Model) -> None:
        value = epsilon(model)
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(0.01))

    def one(model: ir.Model) -> None:
        (add,) = nodes_of(model, f"{LAYER}.norm_1", "Add")
        value = epsilon(model)
        other = ir.Value(
            name="other", const_value=ir.tensor(value.const_value.numpy() * np.float32(10))
        )
        model.graph.register_initializer(other)
        add.replace_input_with(list(add.inputs).index(value), other)

    (shared,) = changed(sound, all_of_them)
    assert shared.kind == WEIGHT_CHANGED and "expected" in shared.words
    assert f"{LAYER}.norm_1" in (shared.module, *shared.also)
    said = what_happened([shared], f"{LAYER}.norm_1")
    assert "nothing differs" not in said and "taken by" in said
    found = changed(sound, one)
    (own,) = (c for c in found if c.kind == WEIGHT_CHANGED)
    assert own.module == f"{LAYER}.norm_1" and own.also == ()
    assert {c.kind for c in found} == {WEIGHT_CHANGED}


def test_a_norm_that_is_missing_is_one_change(sound: Sound) -> None:
    path = f"{LAYER}.norm_3"

    def remove(model: ir.Model) -> None:
        bypass(model, *nodes_of(model, path))
        del model.graph.initializers[f"{path}.weight"]

    found = changed(sound, remove)
    assert [c.kind for c in found] == [NODE_REMOVED, WEIGHT_REMOVED]
    assert found[0].name == path and found[0].words.startswith("is missing (")
    assert what_happened(found, path) == (
        "it is missing (7 nodes: Pow, ReduceMean, Add, Sqrt, Reciprocal, Mul)"
    )
    assert what_happened(found, LAYER).startswith("norm_3 is missing (7 nodes: ")


def test_a_node_added_leaves_those_after_it_unspoken_of(sound: Sound) -> None:
    def add(model: ir.Model) -> None:
        node = nodes_of(model, f"{LAYER}.feed_forward.w_1")[0]
        uses = list(node.outputs[0].uses())
        twice = ir.node("Add", [node.outputs[0], node.outputs[0]], name="twice")
        twice.metadata_props[MODULE_KEY] = node.metadata_props[MODULE_KEY]
        model.graph.insert_after(node, twice)
        for user, index in uses:
            user.replace_input_with(index, twice.outputs[0])

    (change,) = changed(sound, add)
    assert (change.kind, change.name, change.words) == (NODE_ADDED, "twice", "is new")
    said = what_happened([change], f"{LAYER}.feed_forward")
    assert said == "weights are equal, the operators differ: twice is new"


def test_opset_and_signature(sound: Sound) -> None:
    def edit(model: ir.Model) -> None:
        model.graph.opset_imports[""] = 21
        model.graph.inputs[0].dtype = ir.DataType.INT32

    opset, signature = changed(sound, edit)
    assert str(opset) == "opset is 21, expected 20" and opset.kind == OPSET
    assert signature.kind == SIGNATURE
    assert signature.words.startswith("is int32[") and "expected int64[" in signature.words


GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
agraph (float[n, 3] x, bool flag) => (float[n, 3] y)
<float[3] w = {1, 2, 3}, float[3] v = {4, 5, 6}, float[3] bias = {7, 8, 9}>
{
    [a] a = Mul(x, w)
    [b] b = Add(a, bias)
    [c] c = Softmax <axis = -1> (b)
    [d] d = Sub(c, a)
    [e] e = If (flag) <
        then_branch = then () => (t) { [then_one] t = Mul(d, v) },
        else_branch = other () => (o) { [else_one] o = Neg(d) }
    >
    [f] y = Tanh(e)
}
"""


def parsed(text: str) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(text))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("axis = -1", "axis = 1", ["c attribute axis is 1, expected -1"]),
        ("<axis = -1>", "", []),  # which is the operator's default
        ("Sub(c, a)", "Sub(b, a)", ["d takes b, expected c"]),
        ("Sub(c, a)", "Sub(a, c)", ["d takes a, expected c", "d takes c, expected a"]),
        ("Mul(x, w)", "Mul(w, x)", []),  # either way round
        ("Mul(x, w)", "Mul(x, v)", ["a takes v, expected w"]),
        ("Tanh(e)", "Sigmoid(e)", ["f is Sigmoid, expected Tanh"]),
        ("Tanh(e)", "Tanh(d)", ["f takes d, expected e"]),
        ("Mul(d, v)", "Mul(d, w)", ["then_one takes w, expected v"]),
        ("Mul(d, v)", "Mul(c, v)", ["then_one takes c, expected d"]),
        ("Neg(d)", "Abs(d)", ["else_one is Abs, expected Neg"]),
        ("{4, 5, 6}", "{4, 6, 5}", ["v elements 1 and 2 swapped"]),
        ("{4, 5, 6}", "{4, 5, 0}", ["v element 2 is 0.0, expected 6.0"]),
        ("[b] b = Add(a, bias)", "[b] b = Identity(a)", None),
        ("float[3] v", "float[3] more = {0, 0, 0}, float[3] v", ["more is new, and nothing"]),
    ],
)
def test_what_was_edited_is_said(old: str, new: str, said: list[str] | None) -> None:
    edited = GRAPH.replace(old, new)
    assert edited != GRAPH
    found = [str(c) for c in graph_changes(parsed(GRAPH), parsed(edited))]
    if said is None:
        assert any("lacks bias" in words or "is Identity" in words for words in found)
    else:
        assert len(found) == len(said), found
        assert all(a.startswith(b) for a, b in zip(found, said, strict=True)), found


def test_a_bias_that_is_missing_is_called_so() -> None:
    edited = GRAPH.replace("[b] b = Add(a, bias)", "").replace(
        "Softmax <axis = -1> (b)", "Softmax <axis = -1> (a)"
    )
    edited = edited.replace(", float[3] bias = {7, 8, 9}", "")
    found = graph_changes(parsed(GRAPH), parsed(edited))
    assert [c.kind for c in found] == [NODE_REMOVED, WEIGHT_REMOVED]
    assert what_happened(found, "") == "b is missing, and with it its bias (bias)"


def test_an_input_left_out_is_called_missing() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    agraph (float[1, 1, n] x) => (float[1, 1, m] y)
    <float[1, 1, 1] w = {1}, float[1] conv_bias = {7}>
    { [conv] y = Conv <kernel_shape = [1]> (x, w, conv_bias) }
    """
    found = graph_changes(parsed(text), parsed(text.replace(", conv_bias)", ")")))
    assert str(found[0]) == "conv lacks conv_bias: its conv_bias is missing"
    assert found[0].kind == NODE_CHANGED and WEIGHT_ADDED not in {c.kind for c in found}


def test_many_nodes_are_told_by_number() -> None:
    changes = [Change(NODE_ADDED, f"a.b/Add_{i}", "a.b", "is new") for i in range(7)]
    said = "weights are equal, the operators differ: 7 nodes are new"
    assert what_happened(changes, "a.b") == f"{said} (Add_0, Add_1, Add_2, Add_3 and 3 more)"


def test_what_stands_in_a_body_is_compared() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    agraph (float[n, 3] x, float[3] start) => (float[3] last, float[n, 3] all)
    {
        last, all = Scan <num_scan_inputs = 1, body = body (float[3] state, float[3] item)
            => (float[3] next, float[3] out) {
            half = Constant <value = float {0.5}> ()
            damped = Mul(state, half)
            next = Add(damped, item)
            out = Identity(next)
        }> (start, x)
    }
    """
    other = parsed(text.replace("{0.5}", "{0.25}"))
    (change,) = graph_changes(parsed(text), other)
    assert change.kind == WEIGHT_CHANGED
    assert str(change) == "half is 0.25, expected 0.5 (taken by Mul)"
    other = parsed(text.replace("Add(damped, item)", "Add(damped, state)"))
    assert [str(c) for c in graph_changes(parsed(text), other)] == [
        "Add takes state, expected item"
    ]
    other = parsed(text.replace("Identity(next)", "Identity(damped)"))
    assert [str(c) for c in graph_changes(parsed(text), other)] == [
        "Identity takes damped, expected next"
    ]
    assert graph_changes(parsed(text), parsed(text)) == ()


def test_much_is_cut_short_with_a_count() -> None:
    changes = [Change(WEIGHT_CHANGED, f"a.{i}", "a", "all zero") for i in range(9)]
    assert what_happened(changes, "a").endswith("3 all zero; and 5 changes more")
    assert what_happened([], "a") == ""
