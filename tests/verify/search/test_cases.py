"""What a form is measured on."""

from __future__ import annotations

import numpy as np

from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.verify.search.cases import FRAMES, SHARES, Inputs, cases_of, clip_inputs


def test_masks_are_of_what_is_predicted_and_as_many_as_they_say(
    nano_artifacts: Artifacts,
) -> None:
    record = record_of(nano_artifacts, "c2f")  # two of its three codebooks are given
    codes = np.random.default_rng(0).integers(0, 11, (5, 2 * FRAMES))
    cases = cases_of(record, Inputs(codes, "a clip"), (0, 1))
    assert [case.mask for case in cases] == [m for m in ("30%", "70%", "97%") for _ in (0, 1)]
    for case, share in zip(cases, np.repeat(SHARES, 2), strict=True):
        assert case.codes.shape == (1, 3, FRAMES)
        np.testing.assert_array_equal(case.codes[0, :2], codes[:2, :FRAMES])
        drawn = case.drawn(record)
        np.testing.assert_array_equal(drawn, case.codes[0, 2] == 11)
        assert abs(drawn.mean() - share) < 0.1
        kept = case.codes[0, 2] != 11
        np.testing.assert_array_equal(case.codes[0, 2, kept], codes[2, :FRAMES][kept])
    assert (cases[0].codes != cases[1].codes).any()
    again = cases_of(record, Inputs(codes, "a clip"), (0,))
    np.testing.assert_array_equal(again[0].codes, cases[0].codes)


def test_positions_are_in_the_order_of_the_logits(nano_artifacts: Artifacts) -> None:
    record = record_of(nano_artifacts, "coarse")  # two codebooks, both predicted
    (case, *_) = cases_of(record, Inputs(np.zeros((2, 9), np.int64), "a clip"), (0,))
    masked = case.codes[0] == 11
    expected = [masked[book, frame] for frame in range(9) for book in range(2)]
    assert case.drawn(record).tolist() == expected


def test_without_an_encoder_or_a_processor_codes_are_drawn_and_it_says_so(
    nano_artifacts: Artifacts,
) -> None:
    found = clip_inputs(nano_artifacts, nano_artifacts.folder, say=lambda _text: None)
    assert found.codes is None and "random" in found.said
    cases = cases_of(record_of(nano_artifacts, "coarse"), found, (3, 4))
    assert [case.mask for case in cases] == ["seed 3", "seed 4"]
    assert all(case.drawn(record_of(nano_artifacts, "coarse")).any() for case in cases)
