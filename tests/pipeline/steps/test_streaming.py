"""Windows over a stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vampnet_onnx.pipeline.steps.streaming import at_once, even_windows, pieces, windows


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 60),
    size=st.integers(1, 20),
    context=st.integers(0, 12),
    block=st.integers(1, 70),
)
def test_windows_cover_a_stream_once(length: int, size: int, context: int, block: int) -> None:
    whole = np.arange(2 * length).reshape(2, length)
    found, position = [], 0
    for window in windows(pieces(whole, block), size=size, context=context):
        counted = window.data[:, window.start : window.stop]
        first = position - window.start
        np.testing.assert_array_equal(
            window.data, whole[:, first : first + window.data.shape[1]]
        )
        assert window.start == min(position, context)
        behind = length - position - counted.shape[1]
        assert window.data.shape[1] - window.stop == min(behind, context)
        position += counted.shape[1]
        found.append(counted)
    assert all(part.shape[1] == size for part in found[:-1])
    np.testing.assert_array_equal(np.concatenate(found, axis=1), whole)


@settings(max_examples=80, deadline=None)
@given(
    length=st.integers(1, 90),
    size=st.integers(1, 9),
    context=st.integers(0, 12),
    block=st.integers(1, 70),
    unit=st.integers(1, 3),
)
def test_even_windows_cover_a_stream_once_whatever_its_blocks(
    length: int, size: int, context: int, block: int, unit: int
) -> None:
    whole = np.arange(2 * length).reshape(2, length)
    found, position = [], 0
    cut = list(even_windows(pieces(whole, block), size=size, context=context, unit=unit))
    for window in cut:
        first = position - window.start
        assert window.start == min(position, context * unit)
        position += window.stop - window.start
        assert window.data.shape[1] - window.stop == min(length - position, context * unit)
        np.testing.assert_array_equal(
            window.data, whole[:, first : first + window.data.shape[1]]
        )
        assert position % unit == 0 or position == length
        found.append(window.data[:, window.start : window.stop])
    np.testing.assert_array_equal(np.concatenate(found, axis=1), whole)
    units = -(-length // unit)
    assert len(cut) == 1 if units < 2 * size else len(cut) % 2 == 0
    assert all(2 * len(part[0]) <= 3 * size * unit for part in found[1:])
    at = [
        window.data.shape
        for window in even_windows([whole], size=size, context=context, unit=unit)
    ]
    assert at == [window.data.shape for window in cut]


def test_an_empty_stream_has_no_windows() -> None:
    assert list(even_windows([], size=3, context=1)) == []
    assert list(even_windows([np.zeros((1, 0))], size=3, context=1)) == []


def test_items_at_once_come_in_order_and_few_are_held() -> None:
    taken = list[int]()

    def items() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    def late(item: int) -> int:
        time.sleep(0.01 if item % 3 else 0.03)
        return item

    for number, item in enumerate(at_once(late, items(), most=3)):
        assert item == number
        assert len(taken) <= number + 5


def test_whatever_ends_a_stream_leaves_nothing_running() -> None:
    begun = list[int]()

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.02)
        if item == 4:
            raise ValueError("four")
        return item

    with pytest.raises(ValueError, match="four"):
        list(at_once(work, range(100), most=2))
    given_up = at_once(work, range(100), most=2)
    next(given_up)
    given_up.close()

    def broken() -> Iterator[int]:
        yield from range(2)
        raise OSError("the disk")

    with pytest.raises(OSError, match="the disk"):
        list(at_once(work, broken(), most=2))
    assert len(begun) < 16
    assert not [thread for thread in threading.enumerate() if "window" in thread.name]
