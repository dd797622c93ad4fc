"""Contestants take turns; how many rounds there are depends on none of their differences."""

from __future__ import annotations

import pytest

from vampnet_onnx.verify.bench.rounds import Budget, Contestant, Seconds, in_turns

NAMES = ("a", "b", "c")


def entrants(order: list[str], seconds: float = 1.0) -> list[Contestant]:
    """Contestants that say when they ran, by a clock that is theirs."""

    def run(name: str) -> Seconds:
        order.append(name)
        return {"total": seconds * len(order)}

    return [Contestant(name, lambda name=name: run(name)) for name in NAMES]


def test_everybody_runs_once_a_round_and_in_every_place() -> None:
    order: list[str] = []
    found = in_turns(entrants(order), Budget(0, 3, 3))
    rounds = ["".join(order[i : i + 3]) for i in range(0, len(order), 3)]
    assert rounds == ["abc", "abc", "bca", "cab"]  # the first one warms up
    # The clock counts runs: what is kept is what ran after the warm-up, in its order.
    assert found == {
        "a": [{"total": 4}, {"total": 9}, {"total": 11}],
        "b": [{"total": 5}, {"total": 7}, {"total": 12}],
        "c": [{"total": 6}, {"total": 8}, {"total": 10}],
    }


def test_jobs_of_minutes_do_without_a_warm_up() -> None:
    order: list[str] = []
    found = in_turns(entrants(order), Budget(0, 2, 9), warm_up=False)
    assert order == [*"abcbca"]
    assert all(len(runs) == 2 for runs in found.values())


def test_rounds_are_as_many_as_fit_within_bounds() -> None:
    budget = Budget(seconds=60, least=5, most=15)
    assert [budget.rounds(s) for s in (0.0, 0.1, 6.0, 7.0, 60.0)] == [15, 15, 10, 8, 5]
    # A round of the warm-up takes 1 + 2 + 3.
    assert len(in_turns(entrants([]), budget)["a"]) == 10


def test_progress_tells_rounds_done_of_all() -> None:
    told: list[tuple[int, int]] = []
    in_turns(entrants([]), Budget(0, 3, 3), progress=lambda *now: told.append(now))
    assert told == [(0, 3), (0, 3), (1, 3), (2, 3), (3, 3)]  # the warm-up is none of them


def test_what_was_run_before_an_interrupt_is_left() -> None:
    order: list[str] = []
    found: dict[str, list[Seconds]] = {}

    def stop() -> Seconds:
        raise KeyboardInterrupt

    stopped = [*entrants(order)[:2], Contestant("stops", stop)]
    with pytest.raises(KeyboardInterrupt):
        in_turns(stopped, Budget(0, 3, 3), warm_up=False, found=found)
    assert {name: len(runs) for name, runs in found.items()} == {"a": 1, "b": 1, "stops": 0}
