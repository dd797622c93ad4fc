"""Changes of arrays in words: what was done is what is said, and only what was done."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vampnet_onnx.verify.numbers.changes import describe_change


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def of(found: np.ndarray, expected: np.ndarray, **others: np.ndarray) -> str:
    return describe_change(expected, found, others)


sides = st.integers(3, 40)
seeds = st.integers(0, 1000)


@given(sides, sides, seeds)
def test_equal_arrays_are_not_spoken_of(rows: int, columns: int, seed: int) -> None:
    weight = normal(rows, columns, seed=seed)
    assert describe_change(weight, weight.copy()) == ""
    weight[0, 0] = np.nan
    assert describe_change(weight, weight.copy()) == ""


@given(sides, seeds)
def test_a_transposed_square(side: int, seed: int) -> None:
    weight = normal(side, side, seed=seed)
    assert describe_change(weight, weight.T.copy()) == "transposed"
    assert describe_change(weight, weight.T * np.float32(1.5)) != "transposed"


@given(sides, sides, seeds, st.data())
def test_rows_and_columns_rolled(
    rows: int, columns: int, seed: int, data: st.DataObject
) -> None:
    weight = normal(rows, columns, seed=seed)
    axis = data.draw(st.integers(0, 1))
    extent = weight.shape[axis]
    step = data.draw(st.integers(1, (extent - 1) // 2))
    name = ("rows", "columns")[axis]
    for signed in (step, -step):
        found = np.roll(weight, signed, axis)
        assert describe_change(weight, found) == f"{name} rolled by {signed}"


@given(sides, seeds, st.data())
def test_two_rows_swapped(side: int, seed: int, data: st.DataObject) -> None:
    weight = normal(side, 5, seed=seed)
    one, two = sorted(data.draw(st.sets(st.integers(0, side - 1), min_size=2, max_size=2)))
    found = weight.copy()
    found[[one, two]] = weight[[two, one]]
    assert describe_change(weight, found) == f"rows {one} and {two} swapped"
    assert describe_change(weight.T, found.T) == f"columns {one} and {two} swapped"
    # Two elements of a bias.
    assert describe_change(weight[:, 0], found[:, 0]) == f"elements {one} and {two} swapped"


@given(sides, sides, seeds, st.floats(-8, 8).filter(lambda c: abs(abs(c) - 1) > 1e-3))
def test_scaled(rows: int, columns: int, seed: int, factor: float) -> None:
    factor = float(np.float32(round(factor, 4)))
    weight = normal(rows, columns, seed=seed)
    said = describe_change(weight, weight * np.float32(factor))
    if factor == 0:
        assert said == "all zero"
        return
    assert said.startswith("scaled by ")
    assert float(said.split()[-1]) == pytest.approx(factor, rel=1e-6)


@given(sides, seeds, st.data())
def test_one_column_or_element(side: int, seed: int, data: st.DataObject) -> None:
    weight = normal(9, side, seed=seed)
    column = data.draw(st.integers(0, side - 1))
    found = weight.copy()
    found[:, column] *= np.float32(1.01)
    assert describe_change(weight, found) == f"column {column} scaled by 1.01"
    found[:, column] = 0
    assert describe_change(weight, found) == f"column {column} all zero"
    found[:, column] = -weight[:, column]
    assert describe_change(weight, found) == f"column {column} sign flipped"
    found = weight.copy()
    found[4, column] = 3
    value = str(weight[4, column])
    said = f"element [4, {column}] is 3.0, expected {value}"
    assert describe_change(weight, found).startswith(said)


@given(sides, sides, seeds)
def test_rounded_to_half_precision(rows: int, columns: int, seed: int) -> None:
    weight = normal(rows, columns, seed=seed)
    half = weight.astype(np.float16).astype(np.float32)
    assert describe_change(weight, half) == "rounded to float16"
    cut = (weight.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert describe_change(weight, cut) == "rounded to bfloat16, cut off"


@given(sides, sides, seeds)
def test_nothing_is_claimed_of_other_numbers(rows: int, columns: int, seed: int) -> None:
    weight, found = normal(rows, columns, seed=seed), normal(rows, columns, seed=seed + 1)
    said = describe_change(weight, found)
    assert said.startswith("differs: relative L2 ")
    assert f"{rows * columns} of {rows * columns} elements" in said


WEIGHT = normal(6, 8)
ROWS_2_AND_3 = [0, 1, 3, 2, 4, 5]


def changed(index: object, value: object) -> np.ndarray:
    found = WEIGHT.copy()
    found[index] = value
    return found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (-WEIGHT, "sign flipped"),
        (WEIGHT * 0, "all zero"),
        (WEIGHT[::-1], "rows reversed"),
        (WEIGHT[:, ::-1], "columns reversed"),
        (np.flip(WEIGHT), "reversed along every axis"),
        (WEIGHT + np.float32(0.5), "shifted by 0.5"),
        (WEIGHT[[3, 1, 0, 2, 5, 4]], "rows in another order (5 of 6 moved)"),
        (np.nextafter(WEIGHT, np.float32(9)), "differs in the last bits only"),
        (changed(2, WEIGHT[4]), "row 2 is a copy of row 4"),
        (changed(3, -WEIGHT[3]), "row 3 sign flipped"),
        (changed(3, np.roll(WEIGHT[3], 2)), "row 3 elements rolled by 2"),
        (changed(slice(1, 4), 0), "rows 1 to 3 (of 6): all zero"),
        (changed((3, slice(2, 4)), 0), "row 3 elements 2 and 3: all zero"),
        (changed((3, 5), 0), "element [3, 5] is 0.0, expected"),
        (
            changed((0, 0), -WEIGHT[0, 0]),
            "element [0, 0] is -0.12573022, expected 0.12573022 (sign flipped)",
        ),
        (
            changed((0, 0), WEIGHT[0, 0] * np.float32(1.01)),
            "element [0, 0] is 0.12698752, expected 0.12573022 (off by 1 %)",
        ),
        (changed((slice(1, 3), 5), np.nan), "NaN in 2 of 48 elements, the first at [1, 5]"),
        (changed((1, 5), np.inf), "not finite in 1 of 48 elements, the first at [1, 5]"),
        (WEIGHT * np.arange(1, 9, dtype=np.float32), "columns scaled by factors of their own"),
        (WEIGHT.astype(np.float16), "of type float16, expected float32"),
        (WEIGHT.astype(np.float64), "of type float64, expected float32"),
        ((WEIGHT * 3).astype(np.float64), "of type float64, expected float32 and scaled by 3"),
        (WEIGHT.T, "transposed (of shape [8, 6], expected [6, 8])"),
        (WEIGHT.reshape(4, 12), "reshaped (of shape [4, 12], expected [6, 8])"),
        (WEIGHT[:5], "of shape [5, 8], expected [6, 8]"),
        (WEIGHT + normal(6, 8, seed=1) * np.float32(1e-3), "differs"),
    ],
)
def test_what_was_done_is_said(found: np.ndarray, said: str) -> None:
    words = describe_change(WEIGHT, np.ascontiguousarray(found))
    assert words.startswith(said), words


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        (np.float32(1e-5), np.float32(1e-6), "is 1e-06, expected 1e-05"),
        (np.float32([1e-5]), np.float32([np.nan]), "is nan, expected 1e-05"),
        (np.int64([0, 2, 1]), np.int64([0, 1, 2]), "is [0, 1, 2], expected [0, 2, 1]"),
        (np.array(True), np.array(False), "is False, expected True"),
        (np.float32([0, 1, 2]), np.float32([-0.0, 1, 2]), "differs in the signs of zeros"),
        (np.zeros((0, 4), np.float32), np.zeros((2, 4), np.float32), "of shape [2, 4], exp"),
        (np.array(["a"]), np.array(["b"]), "1 of 1 elements differ"),
        (np.arange(20), np.arange(20)[::-1].copy(), "elements reversed"),
        (np.zeros(9, np.float32), np.ones(9, np.float32), "shifted by 1"),
        (np.complex64([1, 2j]), np.complex64([1, 1j]), "1 of 2 elements differ"),
    ],
)
def test_small_and_odd_arrays(expected: np.ndarray, found: np.ndarray, said: str) -> None:
    words = describe_change(np.asarray(expected), np.asarray(found))
    assert words.startswith(said), words


def test_axes_of_a_convolution_are_named() -> None:
    kernel = normal(4, 5, 7)
    assert of(kernel[..., ::-1].copy(), kernel) == "slices of axis 2 reversed"
    assert of(np.roll(kernel, 1, 2), kernel) == "slices of axis 2 rolled by 1"
    square = normal(3, 5, 5)
    assert of(square.swapaxes(1, 2).copy(), square) == "transposed by [0, 2, 1]"
    one = kernel.copy()
    one[:, 3] = 0
    assert of(one, kernel) == "slice 3 of axis 1 all zero"


def test_another_weight_in_its_place_is_named() -> None:
    other, square = normal(6, 8, seed=3), normal(8, 6, seed=4)
    assert of(other, WEIGHT, itself=WEIGHT, b=other) == "equals b"
    assert of(square.T.copy(), WEIGHT, b=other, c=square) == "equals c, transposed"
    # A vector of one value is like many: its name would be a guess.
    ones = np.ones(5, np.float32)
    assert of(ones, normal(5), norm=ones).startswith("differs")
