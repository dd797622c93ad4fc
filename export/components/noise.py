"""The noise of a seed as operators: the same numbers as `pipeline.steps.noise`, bit by bit.

That module is the definition.  Here its words are made in uint64, any stretch of the stream by
itself, and its logarithm in float64, each operation a node of its own: no runtime has one
operator for two of them that it could round but once.
"""

import math
from collections.abc import Sequence

import numpy as np

from vampnet_onnx.configs.noise import LN2_HIGH, LN2_LOW, LOG_SERIES, TOKENS
from vampnet_onnx.export.graph.builder import GraphBuilder, Var

# Of Philox4x64-10, for the words 0 and 2 of a block.  Source: Salmon et al., "Parallel random
# numbers: as easy as 1, 2, 3" (2011).
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10
_BLOCK = 4  # words a counter gives
_WORDS = 1 << 64
_HALF = 32  # bits
_PART = 1 << 14  # numbers made at a time, so that what lies between stays in the cache
_LEAST_EXPONENT = 53  # the smallest number whose logarithm is taken is 2**-53


def uniform(g: GraphBuilder, seed: Var, start: Var, count: Var) -> Var:
    """Build uniform noise in (0, 1), float32 [count].

    Args:
        seed: uint64 [].
        start: words of the stream that were taken already, int64 [].
        count: int64 [].
    """
    before = start // _BLOCK  # blocks
    skipped = start - before * _BLOCK
    blocks = (skipped + count + (_BLOCK - 1)) // _BLOCK
    words = _words(g, seed, g.range(blocks) + (before + 1))
    odd = _shifted(words.slice(0, skipped, skipped + count), 41) * 2 + 1
    return odd.cast(np.float32) * 2.0**-24


def exponential(
    g: GraphBuilder, seed: Var, start: Var, rows: Var, width: int
) -> tuple[Var, Var]:
    """Build rows of Exponential(1) noise of an array [any, width], float32 [more, width].

    Args:
        seed: uint64 [].
        start: words of the stream that were taken before the array, int64 [].
        rows: of the array, int64 [rows].

    Returns:
        The rows, and what they belong to, int64 [more]: the first row of the array may come
        again, behind the others.
    """
    together = max(1, _PART // width)
    missing = g.constant(together, np.int64) - rows.extent(0) % together
    groups = rows.pad(0, 0, missing).reshape(-1, together)
    places = g.range(g.constant(width, np.int64))  # no constant: they are all small here
    blocks = (width + 2 * (_BLOCK - 1)) // _BLOCK  # wherever in a block a row begins

    def part(state: Var, sequences: Sequence[Var]) -> tuple[Var, list[Var]]:
        begins = (sequences[0] * width + start).reshape(-1, 1)
        before = begins // _BLOCK
        counters = before + g.range(g.constant(blocks, np.int64)) + 1
        words = _words(g, seed, counters.reshape(-1)).reshape(together, -1)
        own = words.op("GatherElements", begins - before * _BLOCK + places, axis=1)
        odd = _shifted(own, 12) * 2 + 1
        with g.scope("log"):
            numbers = -_log(g, odd.cast(np.float64) * 2.0**-53)
        return state + 1, [numbers.cast(np.float32)]

    made = g.scan(
        part,
        g.constant(0, np.int64),
        [groups],
        shapes=[(), (together,)],
        results=[(together, width)],
    )[1][0]
    return made.reshape(-1, width), groups.reshape(-1)


def _words(g: GraphBuilder, seed: Var, counters: Var) -> Var:
    """Build the words of counters, int64 [blocks], as uint64 [4 * blocks].

    A block is two rows of words, (0, 2) and (1, 3), so that one node works on both.  A round
    swaps the words of the first row.
    """
    first = counters.cast(np.uint64) * _pair(g, (1, 0))
    second = _pair(g, (0, 0))
    key = seed * _pair(g, (1, 0)) + _pair(g, (0, TOKENS))
    for number in range(_ROUNDS):
        with g.scope(f"round_{number}"):
            first, second = _round(g, first, second, key, number)
    rows = [row.op("Unsqueeze", g.vector(1)) for row in (first, second)]
    return g.concat(1, *rows).transpose(2, 0, 1).reshape(-1)


def _round(g: GraphBuilder, first: Var, second: Var, key: Var, number: int) -> tuple[Var, Var]:
    """Build a round.

    Args:
        first: words 0 and 2, in an odd round 2 and 0, uint64 [2, blocks].
        second: words 1 and 3, in an odd round 3 and 1.
        key: uint64 [2, 1].
    """
    odd = bool(number % 2)
    factors = tuple(reversed(_MULTIPLIERS)) if odd else _MULTIPLIERS
    steps = _pair(g, [number * step % _WORDS for step in _KEY_STEPS])
    swapped = g.constant(np.array([1, 0], np.int64))
    own = key + steps
    if not odd:
        own = own.op("Gather", swapped, axis=0)
    if number:
        second = second.op("Gather", swapped, axis=0)
    high, low = _product(g, first, factors)
    return _xor(_xor(high, second), own), low


def _product(g: GraphBuilder, words: Var, factors: tuple[int, ...]) -> tuple[Var, Var]:
    """Build the high and the low words of 128-bit products, of halves whose products fit."""
    below = (1 << _HALF) - 1
    factor_low = _pair(g, [factor & below for factor in factors])
    factor_high = _pair(g, [factor >> _HALF for factor in factors])
    low, high = words.op("BitwiseAnd", below), _shifted(words, _HALF)
    middle = high * factor_low + _shifted(low * factor_low, _HALF)
    other = low * factor_high + middle.op("BitwiseAnd", below)
    top = high * factor_high + _shifted(middle, _HALF) + _shifted(other, _HALF)
    return top, words * _pair(g, factors)


def _log(g: GraphBuilder, x: Var) -> Var:
    """Build the natural logarithm of float64 from 2**-53 to 1; see `pipeline.steps.noise.log`.

    A runtime's own logarithm only guesses the exponent, which is then put right.
    """
    least = math.sqrt(0.5)
    guess = (x.op("Log") * (1 / math.log(2))).op("Round")
    powers = g.constant(np.array([2.0**i for i in range(_LEAST_EXPONENT + 1)]))
    near = x * powers.op("Gather", (-guess).cast(np.int64))
    small, large = near < least, near >= 2 * least
    f = large.where(near * 0.5, small.where(near * 2.0, near)) - 1.0
    k = guess - small.cast(np.float64) + large.cast(np.float64)
    s = f / (f + 2.0)
    z = s * s
    series = z * LOG_SERIES[-1]
    for coefficient in reversed(LOG_SERIES[:-1]):
        series = (series + coefficient) * z
    half = f * f * 0.5
    inner = s * (half + series) + k * LN2_LOW
    return k * LN2_HIGH - ((half - inner) - f)


def _pair(g: GraphBuilder, words: tuple[int, ...] | list[int]) -> Var:
    return g.constant(np.array(words, np.uint64).reshape(2, 1))


def _shifted(words: Var, bits: int) -> Var:
    return words.op("BitShift", bits, direction="RIGHT")


def _xor(a: Var, b: Var) -> Var:
    return a.op("BitwiseXor", b)
