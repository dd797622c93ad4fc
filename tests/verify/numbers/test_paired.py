"""Paired differences: a bound that few or scattered pairs make larger, never smaller."""

from __future__ import annotations

import numpy as np
import pytest

from vampnet_onnx.verify.numbers.paired import Paired, entropies, used


def test_a_difference_is_told_with_its_standard_error() -> None:
    found = Paired.of(np.array([1.0, 2.0, 3.0, 2.0]))
    assert found.mean == 2 and found.error == pytest.approx(np.sqrt(2 / 3) / 2)
    assert found.at_most == pytest.approx(2 + 2 * found.error)
    assert str(found) == "+2.000 ± 0.408"


def test_the_bound_has_two_sides() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.2])
    assert Paired.of(-values).at_most == Paired.of(values).at_most


def test_fewer_pairs_never_make_it_tighter_and_one_says_nothing() -> None:
    values = np.random.default_rng(0).standard_normal(64)
    spread = values / values.std() - values.mean() / values.std()
    assert Paired.of(spread[:8]).at_most > Paired.of(spread).at_most
    assert Paired.of(np.zeros(1)).at_most == np.inf


def test_what_is_no_number_has_no_bound() -> None:
    assert np.isnan(Paired.of(np.array([0.0, np.nan])).at_most)


def test_entropy_is_of_each_row_by_itself() -> None:
    rows = np.array([[[3, 3, 3, 3], [0, 1, 2, 3]], [[7, 7, 1, 1], [5, 5, 5, 0]]])
    quarter = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    expected = [[0, np.log(4)], [np.log(2), quarter]]
    np.testing.assert_allclose(entropies(rows), expected, atol=1e-12)


def test_entries_in_use_are_counted_over_all_items() -> None:
    assert used(np.array([[[3, 3], [0, 1]], [[3, 4], [1, 1]]])).tolist() == [2, 2]
