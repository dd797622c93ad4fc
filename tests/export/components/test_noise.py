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
def graph(width: int, opset: int = 20) -> Run:
    g = GraphBuilder()
    kinds = {"seed": "uint64", "start": "int64", "count": "int64"}
    seed, start, count = (g.input(signature(name, kind)) for name, kind in kinds.items())
    rows = g.input(signature("rows", "int64", "rows"))
    with g.scope("uniform"):
        plain = noise.uniform(g, seed, start, count)
    with g.scope("exponential"):
        made, places = noise.exponential(g, seed, start, rows, width)
    outputs = (
        signature("uniform", "float32", "count"),
        signature("exponential", "float32", "more", width),
        signature("places", "int64", "more"),
    )
    found = {"uniform": plain, "exponential": made, "places": places}
    return run_model(g.finish(outputs, found, opset))


def same(
    seed: int, start: int, count: int, rows: list[int], width: int, opset: int = 20
) -> None:
    """Compare with NumPy's numbers: a stretch, and rows of an array that begins there."""
    found = graph(width, opset)(
        {
            "seed": np.array(seed, np.uint64),
            "start": np.array(start),
            "count": np.array(count),
            "rows": np.array(rows, np.int64),
        }
    )
    source = PhiloxNoise(seed)
    source.move_to(start)
    wanted = source.uniform((count,))
    np.testing.assert_array_equal(found["uniform"].view(np.uint32), wanted.view(np.uint32))
    assert found["places"][: len(rows)].tolist() == rows
    assert set(found["places"].tolist()) <= {0, *rows}
    for row, numbers in zip(found["places"], found["exponential"], strict=True):
        source.move_to(start + int(row) * width)
        own = source.exponential((width,))
        np.testing.assert_array_equal(numbers.view(np.uint32), own.view(np.uint32))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, _64),
    start=st.integers(0, 1 << 61),
    count=st.integers(1, 300),
    rows=st.lists(st.integers(0, 1 << 40), max_size=3),
    width=st.sampled_from([1021, 4096, 5000]),
)
def test_any_stretch_of_any_stream_is_numpys(
    seed: int, start: int, count: int, rows: list[int], width: int
) -> None:
    same(seed, start, count, rows, width)


@pytest.mark.parametrize("opset", [18, 22])
def test_a_hundred_thousand_draws_are_numpys(opset: int) -> None:
    same(0x9E3779B97F4A7C15, 3, 100_000, list(range(100)), 1024, opset)
    same(_64, (1 << 61) - 7, 5, [], 1024, opset)


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
