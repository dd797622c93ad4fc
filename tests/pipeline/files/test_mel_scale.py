"""The mel scale."""

from __future__ import annotations

import numpy as np
import pytest

from vampnet_onnx.pipeline.files.mel_scale import mel_triangles, to_hertz, to_mel


def test_a_thousand_hertz_are_a_thousand_mel() -> None:
    assert to_mel(np.array([0.0, 1000.0])) == pytest.approx([0, 1000], abs=0.1)


def test_the_scale_is_invertible() -> None:
    hertz = np.array([0.0, 100.0, 1000.0, 20000.0])
    assert to_hertz(to_mel(hertz)) == pytest.approx(hertz)


def test_filters_cover_every_frequency_between_the_outer_peaks_once() -> None:
    """A triangle rises where its neighbour falls, so between two peaks they sum to 1."""
    filters = mel_triangles(2049, 20, 16000)
    first, last = filters[0].argmax(), filters[-1].argmax()
    assert filters[:, first + 1 : last].sum(0) == pytest.approx(1)
    peaks = to_mel(np.linspace(0, 8000, 2049)[filters.argmax(1)])
    assert np.diff(peaks) == pytest.approx(peaks[0], rel=0.1)
