"""How near the largest value of a file in half precision is to overflowing.

A value beyond 65504 becomes infinite, and a softmax or a gate behind it may make a finite one
of that again; where half precision is computed in float32 it may not show at all.  So the
graph runs in float32 throughout, and every value that it holds in half precision is measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.verify.localisation.graph import GraphModules, Run

from .measured import Measured

_LARGEST = float(np.finfo(np.float16).max)
# What only moves values makes none larger.
_MOVES = frozenset({"Reshape", "Transpose", "Slice", "Gather"})

_Place = tuple[str, str]  # module and name


def overflow(
    path: Path, inputs: Iterable[Mapping[str, np.ndarray]], *, adapters: Sequence[Path] = ()
) -> Measured:
    """Measure the largest value of half precision, weights with it, over what it can hold.

    Args:
        path: of a file that computes in half precision, at least in part.
        inputs: arrays of the graph's inputs, by name; each is run.
        adapters: files that are switched on.

    Returns:
        Share of 65504: above 1 a value overflows.
    """
    graph = GraphModules(path, adapters)
    inner = graph.model.graph
    largest = _of_weights(inner)
    nodes = [node for node in graph.compute_in_float32() if node.op_type not in _MOVES]
    places = {
        _largest_of(inner, n): (n.metadata_props[MODULE_KEY], str(n.name)) for n in nodes
    }
    run: Run | None = None
    for arrays in inputs:
        run = run or graph.opened(arrays, list(places))
        for place, value in zip(places.values(), run(arrays), strict=True):
            largest[place] = float(np.maximum(largest.get(place, 0.0), value))
    module, name = max(largest, key=lambda place: (np.isnan(largest[place]), largest[place]))
    most = largest[module, name]
    said = f"{name} comes to {most:.3g}; half precision holds {_LARGEST:.0f}"
    return Measured(most / _LARGEST, said, modules=(module,))


def _of_weights(graph: ir.Graph) -> dict[_Place, float]:
    """Return the largest absolute value of every weight in half precision."""
    found = dict[_Place, float]()
    for name, value in graph.initializers.items():
        if value.dtype == ir.DataType.FLOAT16 and value.const_value is not None:
            module = next(iter(value.uses())).node.metadata_props[MODULE_KEY]
            array = value.const_value.numpy().astype(np.float32)
            found[module, name] = float(np.abs(array).max(initial=0.0))
    return found


def _largest_of(graph: ir.Graph, node: ir.Node) -> str:
    """Let a graph give the largest absolute value of a node's output; return its name."""
    size = ir.node("Abs", [node.outputs[0]])
    most = ir.node("ReduceMax", [size.outputs[0]], attributes={"keepdims": 0})
    size.outputs[0].name, most.outputs[0].name = f"size of {node.name}", f"most of {node.name}"
    graph.extend([size, most])
    return str(most.outputs[0].name)
