"""Metrics: what they are, and that nothing that is not finite ever looks good."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vampnet_onnx.verify.numbers import metrics

DISTANCES = (metrics.max_abs, metrics.mean_abs, metrics.relative_l2)
SIMILARITIES = (metrics.snr_db, metrics.pearson)
Metric = Callable[[np.ndarray, np.ndarray], float]

finite = st.floats(-1e6, 1e6, width=32)
shapes = hnp.array_shapes(max_dims=3, max_side=6)


def arrays() -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, shapes, elements=finite)


@given(arrays())
def test_an_array_is_at_no_distance_from_itself(x: np.ndarray) -> None:
    assert all(metric(x, x.copy()) == 0 for metric in DISTANCES)
    assert metrics.snr_db(x, x) == math.inf
    assert metrics.pearson(x, x) == pytest.approx(1, abs=1e-6)
    assert metrics.nonfinite_disagreement(x, x) == 0


@given(arrays(), st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_a_single_changed_value_is_seen_at_its_size(
    x: np.ndarray, where: int, step: float
) -> None:
    y = x.astype(np.float64)
    y.flat[where % x.size] += step
    assert metrics.max_abs(x, y) == pytest.approx(step, rel=1e-5, abs=1e-9)
    assert metrics.mean_abs(x, y) == pytest.approx(step / x.size, rel=1e-5, abs=1e-9)
    assert metrics.relative_l2(x, y) > 0


@given(arrays(), st.floats(1e-6, 10))
def test_relative_l2_of_a_scaled_array_is_the_scale(x: np.ndarray, scale: float) -> None:
    assume(np.linalg.norm(x.astype(np.float64)) > 1e-3)
    y = x.astype(np.float64) * (1 + scale)
    assert metrics.relative_l2(x, y) == pytest.approx(scale, rel=1e-6)
    assert metrics.snr_db(x, y) == pytest.approx(-20 * math.log10(scale), rel=1e-6, abs=1e-6)


@given(arrays(), st.floats(0.1, 10), st.floats(-5, 5))
def test_correlation_ignores_scale_and_offset_and_is_why_it_is_no_gate(
    x: np.ndarray, scale: float, offset: float
) -> None:
    assume(x.astype(np.float64).std() > 1)
    y = x.astype(np.float64) * scale + offset
    assert metrics.pearson(x, y) == pytest.approx(1, abs=1e-6)
    assert metrics.pearson(x, -y) == pytest.approx(-1, abs=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["reference", "export", "both"])
@given(x=arrays(), where=st.integers(0, 10**6))
def test_a_non_finite_value_on_any_side_satisfies_no_limit(
    x: np.ndarray, where: int, side: str, bad: float
) -> None:
    planted = x.copy()
    planted.flat[where % x.size] = bad
    r, e = {"reference": (planted, x), "export": (x, planted), "both": (planted, planted)}[
        side
    ]
    for metric in DISTANCES:
        value = metric(r, e)
        assert not value <= 1e30, metric.__name__
    for metric in SIMILARITIES:
        value = metric(r, e)
        assert not value >= -1e3, metric.__name__
    assert metrics.count_nonfinite(r) + metrics.count_nonfinite(e) == 1 + (side == "both")
    assert metrics.nonfinite_disagreement(r, e) == (side != "both")


def test_kinds_of_non_finite_values_are_told_apart() -> None:
    kinds = np.array([0.0, math.nan, math.inf, -math.inf], np.float32)
    for i in range(4):
        for j in range(4):
            r, e = kinds[i : i + 1], kinds[j : j + 1]
            assert metrics.nonfinite_disagreement(r, e) == (i != j)
    assert metrics.count_nonfinite(np.array([1, 2])) == 0


@given(arrays())
def test_a_wrong_silence_is_infinitely_far(x: np.ndarray) -> None:
    silence = np.zeros_like(x)
    assume(np.abs(x).max() > 1e-6)
    assert metrics.relative_l2(silence, x) == math.inf
    assert metrics.snr_db(silence, x) == -math.inf
    assert metrics.relative_l2(x, silence) == pytest.approx(1)
    assert metrics.relative_l2(silence, silence) == 0


@given(arrays())
def test_a_constant_array_correlates_with_itself_only(x: np.ndarray) -> None:
    constant = np.full_like(x, 3)
    assert metrics.pearson(constant, constant) == 1
    assert metrics.pearson(constant, constant + 1) == 0


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(-30, 30, width=32),
    ),
    st.floats(-5, 5),
)
def test_kl_is_zero_for_the_same_distribution_and_positive_otherwise(
    logits: np.ndarray, shift: float
) -> None:
    assert metrics.form_metrics(logits, logits, axis=1)["kl_nats"] == 0
    same = logits.astype(np.float64) + shift  # softmax knows no offset
    assert metrics.form_metrics(logits, same, axis=1)["kl_nats"] == pytest.approx(0, abs=1e-9)
    assert metrics.form_metrics(logits, -logits, axis=1)["kl_nats"] >= -1e-12


def test_kl_of_a_known_pair() -> None:
    p, q = np.log([[0.5, 0.5]]), np.log([[0.9, 0.1]])
    expected = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert metrics.form_metrics(p, q, axis=1)["kl_nats"] == pytest.approx(expected)


@pytest.mark.parametrize("metric", [*DISTANCES, *SIMILARITIES])
def test_shapes_that_differ_are_never_broadcast(metric: Metric) -> None:
    with pytest.raises(ValueError, match="shape"):
        metric(np.ones((2, 3), np.float32), np.ones((1, 3), np.float32))


def test_differences_are_taken_in_float64() -> None:
    r = np.array([1.0, 1e8], np.float32)
    e = np.array([1.0 + 2**-20, 1e8], np.float32)
    assert metrics.mean_abs(r, e) == 2**-21


def test_metrics_warn_of_nothing_a_person_would_have_to_read() -> None:
    bad = np.array([math.nan, math.inf, 1.0], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in (*DISTANCES, *SIMILARITIES):
            assert math.isnan(metric(bad, bad))
            assert not math.isnan(metric(np.zeros(3, np.float32), np.zeros(3, np.float32)))
        assert math.isnan(metrics.form_metrics(bad[None], bad[None], axis=1)["kl_nats"])


def test_another_best_entry_counts_where_it_was_clear_alone() -> None:
    reference = np.log([[0.6, 0.2, 0.2], [0.35, 0.33, 0.32], [0.9, 0.05, 0.05]])
    export = np.log([[0.2, 0.6, 0.2], [0.33, 0.35, 0.32], [0.9, 0.05, 0.05]])
    found = metrics.form_metrics(reference, export, axis=1)
    assert found["disagreement"] == 0.5
    assert 0 < found["kl_nats"] < found["kl_high"]
