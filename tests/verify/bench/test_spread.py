"""Medians, their intervals, and ratios that are told only where there is one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vampnet_onnx.verify.bench.spread import LEAST_ROUNDS, ratio, spread


@pytest.mark.parametrize(
    ("rounds", "low", "high"),
    [(1, 0, 0), (3, 0, 2), (5, 0, 4), (8, 0, 7), (9, 1, 7), (15, 3, 11), (31, 9, 21)],
)
def test_the_interval_is_that_of_order_statistics(rounds: int, low: int, high: int) -> None:
    """Which hold the median in 95 of 100 runs: tables of the sign test say which."""
    values = np.random.default_rng(0).permutation(rounds).astype(float)
    found = spread([*values])
    assert (found.low, found.median, found.high) == (low, (rounds - 1) / 2, high)


def test_an_outlier_moves_neither_the_median_nor_the_interval_of_many_rounds() -> None:
    quiet = [1.0 + i / 1000 for i in range(15)]
    disturbed = [*quiet[:-1], 40.0]
    assert spread(disturbed) == spread(quiet)


def test_a_ratio_is_measured_round_by_round() -> None:
    """A machine that slows down slows both: their medians alone would tell nothing."""
    first = [1.0, 2.0, 3.0, 4.0, 5.0]
    found = ratio([1.5 * seconds for seconds in first], first)
    assert (found.value, found.low, found.high) == (1.5, 1.5, 1.5)


def test_a_ratio_less_sure_than_it_is_different_is_not_told() -> None:
    first = [1.0] * 5
    unclear = ratio([1.04, 1.10, 1.05, 1.06, 0.99], first)
    assert unclear.value is None and (unclear.low, unclear.high) == (0.99, 1.10)
    assert json.loads(unclear.model_dump_json())["value"] is None
    assert ratio([1.21, 1.19, 1.2, 1.25, 1.18], first).value == pytest.approx(1.2)
    assert ratio([0.81, 0.79, 0.8, 0.85, 0.78], first).value == pytest.approx(0.8)


def test_how_many_rounds_would_tell_is_said_of_what_is_clear_of_one() -> None:
    first = [1.0] * 3
    unsure = ratio([1.02, 1.30, 1.10], first)
    assert unsure.value is None and unsure.would_tell is not None
    wider = ratio([1.02, 1.60, 1.10], first)
    assert wider.would_tell is not None and wider.would_tell > unsure.would_tell > 20
    assert ratio([0.98, 1.30, 1.10], first).would_tell is None  # it may be one
    assert ratio([1.5, 1.5, 1.5], first).would_tell is None  # it is told
    assert ratio([1.5, 1.5], [1.0, 1.0]).would_tell == LEAST_ROUNDS
    # Of what so many rounds are said to tell, they mostly do.
    noise, told, said = np.random.default_rng(3), 0, 0
    for _ in range(300):
        few = ratio([*np.exp(noise.normal(0.1, 0.05, 3))], first)
        if few.would_tell is not None and few.would_tell <= 40:
            said += 1
            many = np.exp(noise.normal(0.1, 0.05, few.would_tell))
            told += ratio([*many], [1.0] * few.would_tell).value is not None
    assert said > 30 and told > 0.7 * said


def test_too_few_rounds_tell_no_ratio() -> None:
    few = LEAST_ROUNDS - 1
    assert ratio([9.0] * few, [1.0] * few).value is None
    assert ratio([9.0] * LEAST_ROUNDS, [1.0] * LEAST_ROUNDS).value == 9.0


@pytest.mark.parametrize(("rounds", "most"), [(3, 0.1), (5, 0.012), (9, 0.005), (15, 0.005)])
def test_equal_contestants_are_seldom_found_to_differ(rounds: int, most: float) -> None:
    """As often as the module says, of a thousand benches with five percent of noise."""
    noise = np.exp(0.05 * np.random.default_rng(1).normal(size=(1000, 2, rounds)))
    told = [ratio([*one], [*other]).value for one, other in noise]
    assert sum(value is not None for value in told) <= 1000 * most
