"""Passes over graphs: each promise is checked, by planting what would break it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from vampnet_onnx.configs.manifest import TensorSignature
from vampnet_onnx.export.adapters import OpenForAdapters
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.graph import (
    MODULE_KEY,
    CanonicalNames,
    FoldCasts,
    KeepModulePaths,
    PlainReshapes,
    SetSignature,
    Simplify,
)
from vampnet_onnx.export.passes import PassResult, run_module_passes
from vampnet_onnx.export.passes.base import GraphPass, PassError, apply_passes
from vampnet_onnx.export.trace import trace
from vampnet_onnx.models import open_models


@pytest.fixture(scope="module")
def coarse(nano: Path) -> TracedComponent:
    """The coarse transformer, its passes over modules done."""
    component = build_component("coarse", open_models(nano))
    assert isinstance(component, TracedComponent)
    with torch.no_grad():
        run_module_passes(component.module, component.passes, component.example)
    return component


@pytest.fixture(scope="module")
def traced(coarse: TracedComponent) -> ir.Model:
    """Its graph as torch's exporter gives it; tests take a copy."""
    with torch.no_grad():
        return trace(coarse, coarse.module, 20)


def passes_of(component: TracedComponent) -> list[GraphPass]:
    parameters = frozenset(name for name, _ in component.module.named_parameters())
    return [
        KeepModulePaths(),
        FoldCasts(),
        PlainReshapes(),
        Simplify(parameters),
        SetSignature(component.inputs, component.outputs),
        CanonicalNames(parameters),
        OpenForAdapters(),
    ]


def a_node(model: ir.Model, kind: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == kind)


def note_more(model: ir.Model) -> None:
    a_node(model, "MatMul").metadata_props["of the exporter"] = "/home/somebody"


def note_on_a_value(model: ir.Model) -> None:
    a_node(model, "MatMul").outputs[0].metadata_props["shape"] = "s0"


def lose_a_path(model: ir.Model) -> None:
    a_node(model, "MatMul").metadata_props.clear()


def cast_a_constant(model: ir.Model) -> None:
    node = a_node(model, "Add")
    number = ir.node("Constant", [], {"value": ir.tensor(np.array(1.0))})
    cast = ir.node("CastLike", [number.outputs[0], node.outputs[0]])
    model.graph.insert_after(node, [number, cast])


def compute_a_shape(model: ir.Model) -> None:
    node = next(n for n in model.graph if n.op_type == "Reshape" and n.outputs[0].shape)
    shape = ir.node("Shape", [node.outputs[0]])
    model.graph.insert_before(node, shape)
    node.replace_input_with(1, shape.outputs[0])


def weight_of(model: ir.Model) -> ir.Value:
    return model.graph.initializers["transformer.norm.weight"]


def inline_a_weight(model: ir.Model) -> None:
    weight = weight_of(model)
    (user, index), *_ = weight.uses()
    constant = ir.node(
        "Constant", [], {"value": weight.const_value}, metadata_props=user.metadata_props
    )
    model.graph.insert_before(user, constant)
    user.replace_input_with(index, constant.outputs[0])


def change_a_weight(model: ir.Model) -> None:
    weight = weight_of(model)
    assert weight.const_value is not None
    weight.const_value = ir.tensor(np.zeros(weight.const_value.shape.numpy(), np.float32))


def move_a_weight(model: ir.Model) -> None:
    for user, _ in weight_of(model).uses():
        user.metadata_props[MODULE_KEY] = "transformer.layers.0"


def freeze_an_axis(model: ir.Model) -> None:
    model.graph.inputs[0].shape = ir.Shape([2, 2, "frames"])


def rename_an_axis(model: ir.Model) -> None:
    shape = list(model.graph.inputs[0].shape or ())
    model.graph.inputs[0].shape = ir.Shape([*shape[:2], "s77"])


def change_a_type(model: ir.Model) -> None:
    model.graph.outputs[0].type = ir.TensorType(ir.DataType.DOUBLE)


def name_twice(model: ir.Model) -> None:
    first, second = [node for node in model.graph if node.op_type == "MatMul"][:2]
    second.name = first.name


def name_after_another_module(model: ir.Model) -> None:
    a_node(model, "MatMul").name = "elsewhere/MatMul_0"


def note_a_shape(model: ir.Model) -> None:
    a_node(model, "MatMul").outputs[0].shape = ir.Shape(["s0", 3])


def give_a_default_a_rank(model: ir.Model) -> None:
    value = next(v for v in model.graph.inputs if str(v.name).endswith("adapter_down"))
    value.const_value = ir.tensor(np.ones((8, 1), np.float32))


@pytest.mark.parametrize(
    "kind, plant, said",
    [
        (KeepModulePaths, note_more, "of the exporter"),
        (KeepModulePaths, note_on_a_value, "notes on values"),
        (KeepModulePaths, lose_a_path, "has the notes"),
        (FoldCasts, cast_a_constant, "FoldCasts left"),
        (PlainReshapes, compute_a_shape, "PlainReshapes left"),
        (Simplify, lose_a_path, "lost the module path"),
        (Simplify, inline_a_weight, "inlined the weight transformer.norm.weight"),
        (Simplify, change_a_weight, "changed or inlined the weight transformer.norm.weight"),
        (Simplify, move_a_weight, "moved the weight transformer.norm.weight"),
        (SetSignature, freeze_an_axis, "an axis was frozen"),
        (SetSignature, rename_an_axis, "has axes"),
        (SetSignature, change_a_type, "is float64, should be float32"),
        (CanonicalNames, name_twice, "gave a name twice"),
        (CanonicalNames, name_after_another_module, "is named elsewhere/MatMul_0"),
        (CanonicalNames, note_a_shape, "an inner value"),
        (OpenForAdapters, give_a_default_a_rank, "no input with a default of rank 0"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_pass_that_breaks_its_promise_is_refused(
    coarse: TracedComponent,
    traced: ir.Model,
    kind: type[GraphPass],
    plant: Callable[[ir.Model], None],
    said: str,
) -> None:
    model, passes = traced.clone(), passes_of(coarse)
    at = [type(item) for item in passes].index(kind)
    apply_passes(model, passes[:at])
    broken, sound = passes[at], passes[at].call

    def call(graph: ir.Model) -> PassResult:
        result = sound(graph)
        plant(graph)
        return result

    broken.call = call  # type: ignore[method-assign]
    with pytest.raises(PassError, match=said):
        apply_passes(model, [broken])


def test_sound_passes_hold_what_they_promise(
    coarse: TracedComponent, traced: ir.Model
) -> None:
    passes = passes_of(coarse)
    records = apply_passes(traced.clone(), passes)
    assert [record.name for record in records] == [type(item).__name__ for item in passes]
    assert all(record.changed and record.details for record in records)


def test_what_a_pass_requires_is_checked_before_it_runs(
    coarse: TracedComponent, traced: ir.Model
) -> None:
    signature = (TensorSignature(name="codes", dtype="float32", shape=("b", 2, "t")),)
    for item, said in (
        (Simplify(frozenset()), "after KeepModulePaths"),
        (SetSignature(signature, coarse.outputs), "codes is int64, should be float32"),
        (SetSignature((), coarse.outputs), "not the signature's names"),
    ):
        with pytest.raises(PassError, match=said):
            apply_passes(traced.clone(), [item])
    kept = traced.clone()
    apply_passes(kept, [KeepModulePaths()])
    with pytest.raises(PassError, match="no note of the module"):
        apply_passes(kept, [KeepModulePaths()])
