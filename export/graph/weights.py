"""Weights taken out of a graph, to be its inputs for a while, and put back."""

from collections.abc import Iterable, Mapping

import onnx_ir as ir


def take_out(model: ir.Model, names: Iterable[str]) -> dict[str, ir.TensorProtocol]:
    """Make the weights of these names inputs, the last ones; return what they were."""
    outside = {}
    held = model.graph.initializers
    for name in [name for name in held if name in frozenset(names)]:
        value = held.pop(name)
        if value.const_value is None:
            raise ValueError(f"weight {name} has no value")
        outside[name] = value.const_value
        value.const_value = None
        model.graph.inputs.append(value)
    return outside


def put_back(model: ir.Model, outside: Mapping[str, ir.TensorProtocol]) -> None:
    """Make the inputs of these names weights again, those that are used."""
    for value in [v for v in model.graph.inputs if v.name in outside]:
        model.graph.inputs.remove(value)
        if value.uses():
            value.const_value = outside[str(value.name)]
            model.graph.register_initializer(value)
