"""Medians, how sure they are, and when two of them differ.

The interval is that of order statistics: whatever the noise looks like, it holds the true
median in 95 of 100 benches (or, with fewer than six rounds, as often as the whole range does).
Neither quartiles nor standard deviations say that of five values, and one round in which the
machine did something else moves an end of it, never the middle.

A *ratio* is measured round by round, so that what slows a round slows both of its sides.  It
is told only if its interval is narrower than the difference that it would tell; where it is
wider, and yet clear of one, it is said how many rounds would tell, about.  Two equal
contestants are then found to differ once in 11 benches of three rounds, in 160 of five, and in
400 and more beyond.
"""

import math
import statistics
from collections.abc import Sequence
from functools import cache

from vampnet_onnx.reports.timings import Ratio, Spread

LEAST_ROUNDS = 3
"""Rounds below which no ratio is told."""

_COVERED = 0.95
_MOST_ROUNDS = 1000  # that are said to tell something


def spread(values: Sequence[float]) -> Spread:
    """Return the median of values with the interval that holds it."""
    ordered = sorted(values)
    outside = _left_out(len(ordered))
    return Spread(
        median=statistics.median(ordered), low=ordered[outside], high=ordered[-1 - outside]
    )


def ratio(other: Sequence[float], first: Sequence[float]) -> Ratio:
    """Return how many times as long another contestant took as the first, round by round.

    Its value is None unless the interval is narrower than the difference from one.
    """
    found = spread([a / b for a, b in zip(other, first, strict=True)])
    differs = abs(found.median - 1) > found.high - found.low
    told = found.median if differs and len(first) >= LEAST_ROUNDS else None
    return Ratio(
        value=told,
        low=found.low,
        high=found.high,
        would_tell=_would_tell(found, len(first)) if told is None else None,
    )


def _would_tell(found: Spread, rounds: int) -> int | None:
    """Return how many rounds would tell a ratio whose interval is clear of one, about.

    As many as make the interval narrow enough, of noise that is normal and as wide as this.

    Returns:
        None where one is within the interval, for it may be all there is.
    """
    if found.low <= 1 <= found.high:
        return None
    deviation = (found.high - found.low) / _width(rounds) if rounds > 1 else 0.0
    apart = abs(found.median - 1)
    candidates = range(max(LEAST_ROUNDS, rounds + 1), _MOST_ROUNDS)
    return next((n for n in candidates if deviation * _width(n) < apart), _MOST_ROUNDS)


@cache
def _width(rounds: int) -> float:
    """Return how wide the interval is expected to be of normal noise, in its deviations.

    Blom's approximation of the expected order statistics.
    """
    last = rounds - _left_out(rounds)
    return 2 * statistics.NormalDist().inv_cdf((last - 0.375) / (rounds + 0.25))


def _left_out(count: int) -> int:
    """Return how many of ordered values may be left out at either end."""
    outside, beyond = 0, 2.0 * 0.5**count  # probability that the median is outside of all
    for k in range(1, (count + 1) // 2):
        beyond += 2.0 * math.comb(count, k) * 0.5**count
        if 1 - beyond < _COVERED:
            break
        outside = k
    return outside
