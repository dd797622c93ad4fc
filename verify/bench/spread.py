"""Medians, how sure they are, and when two of them differ.

The interval is that of order statistics: whatever the noise looks like, it holds the true
median in 95 of 100 benches (or, with fewer than six rounds, as often as the whole range does).
Neither quartiles nor standard deviations say that of five values, and one round in which the
machine did something else moves an end of it, never the middle.

A *ratio* is measured round by round, so that what slows a round slows both of its sides.  It
is told only if its interval is narrower than the difference that it would tell.  Two equal
contestants are then found to differ once in 11 benches of three rounds, in 160 of five, and in
400 and more beyond.
"""

import math
import statistics
from collections.abc import Sequence

from vampnet_onnx.reports.timings import Ratio, Spread

LEAST_ROUNDS = 3
"""Rounds below which no ratio is told."""

_COVERED = 0.95


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
    return Ratio(value=told, low=found.low, high=found.high)


def _left_out(count: int) -> int:
    """Return how many of ordered values may be left out at either end."""
    outside, beyond = 0, 2.0 * 0.5**count  # probability that the median is outside of all
    for k in range(1, (count + 1) // 2):
        beyond += 2.0 * math.comb(count, k) * 0.5**count
        if 1 - beyond < _COVERED:
            break
        outside = k
    return outside
