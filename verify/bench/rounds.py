"""Contestants that take turns, so that whatever else the machine does falls on all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Seconds = Mapping[str, float]
"""What a run took, by phase."""


@dataclass(frozen=True)
class Contestant:
    """Something that can be timed, again and again.

    Attributes:
        run: does it once and returns the seconds that it took.
    """

    name: str
    run: Callable[[], Seconds]


@dataclass(frozen=True)
class Budget:
    """How many rounds there are: as many as fit into the seconds, within bounds."""

    seconds: float
    least: int
    most: int

    def rounds(self, a_round: float) -> int:
        """Return the number of rounds, given what one takes.

        It depends on the warm-up alone, never on what is being compared: who measures until
        there is a difference finds one.
        """
        fitting = int(self.seconds / a_round) if a_round > 0 else self.most
        return min(self.most, max(self.least, fitting))


def in_turns(
    contestants: Sequence[Contestant],
    budget: Budget,
    *,
    warm_up: bool = True,
    found: dict[str, list[Seconds]] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, list[Seconds]]:
    """Run contestants in rounds; every one of them comes first, second and so on in turn.

    Args:
        warm_up: run a round before, which does not count; without it there are as many rounds
            as the budget has at least.
        found: gets what is returned, run by run, for whoever wants what an interrupt leaves.
        progress: told the rounds done of those that count, and how many there are.

    Returns:
        Seconds by contestant, round after round.
    """
    found = {} if found is None else found
    found.update((one.name, []) for one in contestants)
    rounds = budget.least
    if warm_up:
        progress(0, budget.least)
        rounds = budget.rounds(sum(sum(one.run().values()) for one in contestants))
    for number in range(rounds):
        progress(number, rounds)
        first = number % len(contestants)
        for one in (*contestants[first:], *contestants[:first]):
            found[one.name].append(one.run())
    progress(rounds, rounds)
    return found
