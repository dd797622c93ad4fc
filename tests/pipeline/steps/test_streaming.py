"""Windows over a stream."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vampnet_onnx.pipeline.steps.streaming import pieces, windows


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
