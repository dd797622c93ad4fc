"""The noise of a graph is that of pipeline/steps/noise.py, bit by bit."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.built_components import Run, run_model
from vampnet_onnx.export.components import noise
from vampnet_onnx.export.components.component import signature
from vampnet_onnx.export.graph.builder import GraphBuilder
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise

_64 = (1 << 64) - 1


@cache
def graph(opset: int = 20) -> Run:
    g = GraphBuilder()
    kinds = {"seed": "uint64", "start": "int64", "count": "int64"}
    taken = [g.input(signature(name, kind)) for name, kind in kinds.items()]
    made = {}
    for kind in ("uniform", "exponential"):
        with g.scope(kind):
            made[kind] = getattr(noise, kind)(g, *taken)
    outputs = tuple(signature(name, "float32", "count") for name in made)
    return run_model(g.finish(outputs, made, opset))


def in_graph(seed: int, start: int, count: int, opset: int = 20) -> dict[str, np.ndarray]:
    given = {"seed": np.array(seed, np.uint64)}
    return graph(opset)(given | {"start": np.array(start), "count": np.array(count)})


def same(seed: int, start: int, count: int, opset: int = 20) -> None:
    for kind, found in in_graph(seed, start, count, opset).items():
        source = PhiloxNoise(seed)
        source.move_to(start)
        wanted = getattr(source, kind)((count,))
        np.testing.assert_array_equal(found.view(np.uint32), wanted.view(np.uint32))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, _64), start=st.integers(0, 1 << 62), count=st.integers(1, 300))
def test_any_stretch_of_any_stream_is_numpys(seed: int, start: int, count: int) -> None:
    same(seed, start, count)


@pytest.mark.parametrize("opset", [18, 22])
def test_a_hundred_thousand_draws_are_numpys(opset: int) -> None:
    same(0x9E3779B97F4A7C15, 3, 100_000, opset)
    same(_64, (1 << 62) - 7, 5, opset)


def test_the_logarithm_is_right_at_both_ends_and_where_its_exponent_changes() -> None:
    """Words that give the least and the largest number, and numbers around powers of two."""
    g = GraphBuilder()
    x = g.input(signature("x", "float64", "count"))
    with g.scope("log"):
        made = noise._log(g, x)
    run = run_model(g.finish((signature("y", "float64", "count"),), {"y": made}, 20))
    edges = np.sqrt(0.5) * 2.0 ** -np.arange(52)
    near = [np.nextafter(edges, 0), edges, np.nextafter(edges, 1)]
    numbers = np.concatenate([2.0 ** -np.arange(1, 54), *near, [1 - 2.0**-53]])
    from vampnet_onnx.pipeline.steps.noise import log

    np.testing.assert_array_equal(run({"x": numbers})["y"], log(numbers))
