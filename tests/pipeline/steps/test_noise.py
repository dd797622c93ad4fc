"""pipeline/steps/noise.py gives the numbers its definition says, on any platform."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.steps.noise import MASK, PhiloxNoise, log

_64 = (1 << 64) - 1


def words(seed: int, stream: int) -> Iterator[int]:
    """Philox4x64-10 by the paper, in Python's integers."""
    count = 0
    while True:
        count += 1
        x, key = [count & _64, count >> 64 & _64, 0, 0], [seed, stream]
        for _ in range(10):
            left, right = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
            x = [
                right >> 64 ^ x[1] ^ key[0],
                right & _64,
                left >> 64 ^ x[3] ^ key[1],
                left & _64,
            ]
            key = [key[0] + 0x9E3779B97F4A7C15 & _64, key[1] + 0xBB67AE8584CAA73B & _64]
        yield from x


@given(seed=st.integers(0, _64), stream=st.integers(0, 1))
def test_the_noise_is_philox_as_published(seed: int, stream: int) -> None:
    expected = list(islice(words(seed, stream), 12))
    noise = PhiloxNoise(seed, stream=stream)
    uniform = noise.uniform((2, 3))
    exact = [Fraction(2 * (w >> 41) + 1, 1 << 24) for w in expected[:6]]
    assert [Fraction(float(u)) for u in uniform.ravel()] == exact
    assert uniform.dtype == np.float32 and uniform.shape == (2, 3)
    below = [(w >> 32) * 1000 >> 32 for w in expected[6:8]]
    assert noise.integers(1000, (2,)).tolist() == below
    exponential = noise.exponential((4,))
    near = [-math.log((2 * (w >> 12) + 1) / 2**53) for w in expected[8:]]
    np.testing.assert_allclose(exponential, near, rtol=1e-7)


def test_a_seed_gives_these_very_numbers() -> None:
    noise = PhiloxNoise(7)
    assert [x.hex() for x in noise.exponential((3,)).tolist()] == [
        "0x1.1855640000000p-3",
        "0x1.3833ea0000000p+0",
        "0x1.bc0a8e0000000p-1",
    ]
    assert [x.hex() for x in noise.uniform((2,)).tolist()] == [
        "0x1.9f1f240000000p-2",
        "0x1.5352d00000000p-4",
    ]


def test_numbers_do_not_depend_on_how_they_are_asked_for() -> None:
    whole = PhiloxNoise(1).exponential((40_000,))
    noise = PhiloxNoise(1)
    parts = [noise.exponential((n,)) for n in (1, 16_384, 3, 23_612)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_noise_starts_again_on_request() -> None:
    noise = PhiloxNoise(5)
    first = noise.exponential((3,)), noise.uniform((2,))
    noise.restart()
    np.testing.assert_array_equal(noise.exponential((3,)), first[0])
    np.testing.assert_array_equal(noise.uniform((2,)), first[1])


def test_noise_has_the_moments_of_its_distribution() -> None:
    exponential = PhiloxNoise(0).exponential((400_000,)).astype(np.float64)
    uniform = PhiloxNoise(0).uniform((400_000,)).astype(np.float64)
    assert abs(exponential.mean() - 1) < 5e-3 and abs(exponential.var() - 1) < 2e-2
    assert abs(uniform.mean() - 0.5) < 2e-3 and abs(uniform.var() - 1 / 12) < 1e-3
    assert exponential.min() > 0 and uniform.min() > 0 and uniform.max() < 1


def test_the_streams_of_a_seed_differ() -> None:
    one, other = PhiloxNoise(0), PhiloxNoise(0, stream=MASK)
    assert not np.array_equal(one.uniform((9,)), other.uniform((9,)))


@given(x=st.floats(2.0**-53, 1, exclude_max=True))
def test_the_logarithm_is_within_one_unit_in_the_last_place(x: float) -> None:
    found = float(log(np.array([x]))[0])
    assert abs(found - math.log(x)) <= math.ulp(math.log(x))


def test_the_logarithm_of_one_is_zero() -> None:
    assert log(np.array([1.0])).tolist() == [0.0]


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match="outside 0 to"):
        PhiloxNoise(seed)
