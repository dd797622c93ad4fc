"""The search itself, on costs that are made up."""

from __future__ import annotations

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.verify.search.measure import Cost, Left
from vampnet_onnx.verify.search.smallest import by_cost, smallest_left

# What each layer takes from the agreement; two together take more than their sum.
TAKES = {"a": 0.004, "b": 0.02, "c": 0.001, "d": 0.03, "e": 0.002}
WEIGHTS = {"a": 100, "b": 100, "c": 10, "d": 400, "e": 50}


def agreement(left: Left) -> float:
    taken = [take for name, take in TAKES.items() if name not in left]
    return 1 - sum(taken) - (0.005 if not {"b", "d"} & left else 0)


def search(asked: float, *, most: int = 5, always: tuple[str, ...] = ()) -> Left:
    order = by_cost({n: Cost(1, t) for n, t in TAKES.items()}, Cost(1, 0), WEIGHTS)
    return smallest_left(
        "coarse",
        order,
        always,
        asked=asked,
        weights=WEIGHTS,
        is_form=lambda left: len(left) <= most,
        cost=lambda left: Cost(agreement(left), 0.0),
    )


def test_layers_are_in_order_of_what_they_cost_for_their_bytes() -> None:
    alone = {
        "small": Cost(1, 0.3),
        "large": Cost(1, 0.4),
        "free": Cost(1, 0.1),
        "broken": Cost(1, float("nan")),
    }
    weights = {"small": 1, "large": 100, "free": 1, "broken": 1}
    assert by_cost(alone, Cost(1, 0.1), weights) == ["broken", "small", "large", "free"]


@pytest.mark.parametrize("asked", [0.93, 0.95, 0.97, 0.99, 0.996, 0.9999])
def test_the_agreement_is_kept_and_nothing_can_be_taken_out(asked: float) -> None:
    left = search(asked)
    assert agreement(left) >= asked
    assert all(agreement(left - {name}) < asked for name in left)


def test_nothing_is_left_where_nothing_need_be() -> None:
    assert search(0.9) == frozenset()
    assert search(0.9, always=("a",)) == {"a"}  # and that is left whatever is asked


def test_what_was_reached_at_most_is_told() -> None:
    with pytest.raises(InputError, match=r"coarse: --agreement 0\.999 .* 2 of 5 layers"):
        search(0.999, most=2)
