"""Ties: only the reference's own doubt excuses a token, and what follows from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vampnet_onnx.verify.numbers.ties import (
    code_margins,
    codes_behind,
    independent_differences,
    residual_differences,
    top_two_margin,
)

TOLERANCE = 1e-5


def codes(*columns: list[int]) -> np.ndarray:
    """Make codes [1, N, T] from one list a frame."""
    return np.array(columns).T[None]


def test_a_differing_code_with_a_clear_margin_is_an_error() -> None:
    reference, export = codes([1, 2, 3]), codes([9, 2, 3])
    found = residual_differences(reference, export, np.ones((1, 3, 1)), TOLERANCE)
    assert found.unexplained[0, :, 0].tolist() == [True, False, False]
    assert not found.ambiguous.any() and not found.knock_on.any()


def test_a_differing_code_without_a_margin_is_a_tie_that_its_frame_follows() -> None:
    margins = np.ones((1, 4, 2))
    margins[0, 1, 0] = TOLERANCE / 2
    reference = codes([1, 2, 3, 4], [1, 2, 3, 4])
    export = codes([1, 9, 3, 9], [1, 2, 9, 4])
    found = residual_differences(reference, export, margins, TOLERANCE)
    assert found.ambiguous[0, :, 0].tolist() == [False, True, False, False]
    assert found.knock_on[0, :, 0].tolist() == [False, False, False, True]
    # The other frame has no tie of its own and is not excused by a neighbour's.
    assert found.unexplained[0, :, 1].tolist() == [False, False, True, False]
    assert not found.unexplained[0, :, 0].any()


def test_a_tie_after_an_error_excuses_nothing_before_it() -> None:
    margins = np.ones((1, 3, 1))
    margins[0, 2, 0] = 0
    found = residual_differences(codes([1, 2, 3]), codes([9, 2, 9]), margins, TOLERANCE)
    assert found.unexplained[0, :, 0].tolist() == [True, False, True]
    assert not found.ambiguous.any()


def test_a_small_margin_where_nothing_differs_excuses_no_later_code() -> None:
    margins = np.ones((1, 3, 1))
    margins[0, 0, 0] = 0
    found = residual_differences(codes([1, 2, 3]), codes([1, 9, 3]), margins, TOLERANCE)
    assert found.unexplained[0, :, 0].tolist() == [False, True, False]


@pytest.mark.parametrize("margin", [math.nan, math.inf, TOLERANCE])
def test_no_margin_and_a_margin_at_the_tolerance_are_no_tie(margin: float) -> None:
    margins = np.full((1, 1, 1), margin)
    for classify in (residual_differences, independent_differences):
        found = classify(codes([1]), codes([2]), margins, TOLERANCE)
        assert found.unexplained.all() and not found.ambiguous.any()


def test_a_doubt_between_two_excuses_no_third() -> None:
    margins, behind = np.zeros((1, 2, 1)), np.array([[[0.0], [0.3]]])
    for classify in (residual_differences, independent_differences):
        near = classify(codes([1, 5]), codes([2, 5]), margins, TOLERANCE, behind)
        assert near.ambiguous[0, 0, 0] and not near.unexplained.any()
        far = classify(codes([5, 1]), codes([5, 2]), margins, TOLERANCE, behind)
        assert far.unexplained[0, 1, 0] and not far.ambiguous.any()


def test_a_code_is_as_far_behind_as_its_entry_is_farther() -> None:
    tables = [np.array([[1.0, 0], [0, 1], [-1, 0]])]
    latents = np.array([[[2.0, 1.0], [0.0, 1.0]]])  # at the first entry; between two
    found = codes_behind(latents, tables, np.array([[[2, 1]]]))
    np.testing.assert_allclose(found, [[[4, 0]]], atol=1e-12)
    assert np.isinf(codes_behind(latents, tables, np.array([[[3, -1]]]))).all()


@given(
    hnp.arrays(np.int64, (2, 4, 3), elements=st.integers(0, 3)),
    hnp.arrays(np.int64, (2, 4, 3), elements=st.integers(0, 3)),
    hnp.arrays(np.float64, (2, 4, 3), elements=st.sampled_from([0.0, 1.0, math.nan])),
)
def test_every_differing_code_is_counted_exactly_once(
    reference: np.ndarray, export: np.ndarray, margins: np.ndarray
) -> None:
    for classify in (residual_differences, independent_differences):
        found = classify(reference, export, margins, TOLERANCE)
        total = found.unexplained.astype(int) + found.ambiguous + found.knock_on
        np.testing.assert_array_equal(total, reference != export)
        np.testing.assert_array_equal(found.any, reference != export)
    residual = residual_differences(reference, export, margins, TOLERANCE)
    assert (residual.ambiguous.sum(axis=1) <= 1).all()
    assert not (residual.knock_on & (np.cumsum(residual.ambiguous, axis=1) == 0)).any()


def test_the_margin_is_best_minus_second_best() -> None:
    scores = np.array([[3.0, 1.0, 2.5], [-1.0, -1.0, -5.0]])
    assert top_two_margin(scores, axis=1).tolist() == [0.5, 0.0]
    assert top_two_margin(scores.T, axis=0).tolist() == [0.5, 0.0]
    assert top_two_margin(scores[:, :1], axis=1).tolist() == [math.inf, math.inf]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_never_makes_a_tie(bad: float) -> None:
    with np.errstate(invalid="ignore"):
        margin = top_two_margin(np.array([[bad, bad, 0.0]]), axis=1)
    assert not (margin < TOLERANCE).any()


def test_margins_of_codes_are_those_the_quantiser_itself_sees() -> None:
    import torch
    from torch.nn import functional as F

    draw = torch.Generator().manual_seed(0)
    tables = [torch.randn(7, 3, generator=draw), torch.randn(9, 4, generator=draw)]
    latents = torch.randn(2, 7, 5, generator=draw)
    expected = []
    for part, table in zip(torch.split(latents, [3, 4], dim=1), tables, strict=True):
        unit = F.normalize(part.transpose(1, 2), dim=-1)
        distance = torch.cdist(unit, F.normalize(table).expand(2, -1, -1)).pow(2)
        two = distance.topk(2, dim=-1, largest=False).values
        expected.append((two[..., 1] - two[..., 0]).numpy())
    found = code_margins(latents.numpy(), [table.numpy() for table in tables])
    np.testing.assert_allclose(found, np.stack(expected, axis=1), atol=1e-5)
