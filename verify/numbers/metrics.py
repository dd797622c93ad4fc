"""How far two arrays are apart, in float64.

NaN goes in and NaN comes out: no metric skips, masks or forgives a non-finite value, and the
gates treat NaN as failure.
"""

import numpy as np

from .ties import top_two_margin

# A silent reference has no scale of its own; below this its norm counts as zero.
_SILENCE = 1e-30

# A best entry that is more than this many times as likely as the second is no near-tie.
_CLEAR = 1.5


def max_abs(reference: np.ndarray, export: np.ndarray) -> float:
    """Return max |export - reference|."""
    return float(np.abs(_difference(reference, export)).max(initial=0.0))


def mean_abs(reference: np.ndarray, export: np.ndarray) -> float:
    """Return mean |export - reference|."""
    difference = _difference(reference, export)
    return float(np.abs(difference).mean()) if difference.size else 0.0


def relative_l2(reference: np.ndarray, export: np.ndarray) -> float:
    """Return ||export - reference|| / ||reference||; infinite for a wrong silence."""
    error = float(np.linalg.norm(_difference(reference, export)))
    with np.errstate(invalid="ignore"):  # a NaN may be of the signalling kind
        scale = float(np.linalg.norm(reference.astype(np.float64)))
    if scale < _SILENCE:
        return 0.0 if error < _SILENCE else float("inf") if error == error else error
    return error / scale


def snr_db(reference: np.ndarray, export: np.ndarray) -> float:
    """Return the signal-to-noise ratio in dB; infinite for equal arrays."""
    error = relative_l2(reference, export)
    with np.errstate(divide="ignore"):
        return float(-20 * np.log10(error))


def pearson(reference: np.ndarray, export: np.ndarray) -> float:
    """Return Pearson's correlation; for a constant reference, 1 if equal and else 0."""
    _require_same_shape(reference, export)
    r, e = (x.astype(np.float64).ravel() for x in (reference, export))
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and NaN is meant to show
        r, e = r - r.mean(), e - e.mean()
        scale = float(np.linalg.norm(r) * np.linalg.norm(e))
        if scale < _SILENCE:
            return 1.0 if np.array_equal(reference, export) else 0.0
        return float(r @ e / scale)


def form_metrics(reference: np.ndarray, export: np.ndarray, axis: int) -> dict[str, float]:
    """Return what rounding weights does to distributions over an axis of logits.

    `kl_nats` is the mean KL divergence of the export from the reference, `kl_high` its 99 %
    quantile; `disagreement` the share of distributions with another best entry, of those where
    the reference's best has at least `_CLEAR` times the probability of its second.
    """
    with np.errstate(invalid="ignore"):
        p, q = (_log_softmax(x.astype(np.float64), axis) for x in (reference, export))
        each = (np.exp(p) * (p - q)).sum(axis=axis)
    clear = is_clear(p, axis)
    other = (p.argmax(axis=axis) != q.argmax(axis=axis)) & clear
    return {
        "kl_nats": float(each.mean()),
        "kl_high": float(np.quantile(each, 0.99)),
        "disagreement": float(other.sum()) / max(1, int(clear.sum())),
    }


def is_clear(logits: np.ndarray, axis: int) -> np.ndarray:
    """Return where the best of logits is no near-tie with the second, over an axis of them."""
    result: np.ndarray = top_two_margin(logits, axis) >= np.log(_CLEAR)
    return result


def count_nonfinite(values: np.ndarray) -> int:
    """Return how many values are NaN or infinite."""
    return int((~np.isfinite(values)).sum()) if values.dtype.kind == "f" else 0


def nonfinite_disagreement(reference: np.ndarray, export: np.ndarray) -> int:
    """Return at how many positions the sides differ in being finite, NaN, inf or -inf."""
    if reference.dtype.kind != "f":
        return 0
    return int((_kinds(reference) != _kinds(export)).sum())


def float_metrics(r: np.ndarray, e: np.ndarray) -> dict[str, float]:
    """Return how far two float arrays are apart."""
    return {
        "pearson": pearson(r, e),
        "max_abs": max_abs(r, e),
        "mean_abs": mean_abs(r, e),
        "relative_l2": relative_l2(r, e),
        "snr_db": snr_db(r, e),
    }


def nonfinite(r: np.ndarray, e: np.ndarray) -> dict[str, float]:
    """Count non-finite values on both sides."""
    of_reference, of_export = count_nonfinite(r), count_nonfinite(e)
    return {
        "nonfinite": float(of_reference + of_export),
        "nonfinite_reference": float(of_reference),
        "nonfinite_export": float(of_export),
        "nonfinite_disagreement": float(nonfinite_disagreement(r, e)),
    }


def nonfinite_message(r: np.ndarray, e: np.ndarray) -> str:
    """Say where the first non-finite value is; empty if there is none."""
    for name, values, other in (("reference", r, e), ("export", e, r)):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            where = tuple(int(i) for i in bad[0])
            return (
                f"{len(bad)} non-finite values in the {name}, first at {where}:"
                f" {values[where]} against {other[where]}"
            )
    return ""


def _kinds(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), 2, np.where(np.isinf(values), np.sign(values), 0.5))


def _difference(reference: np.ndarray, export: np.ndarray) -> np.ndarray:
    _require_same_shape(reference, export)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and NaN is meant to show
        result: np.ndarray = export.astype(np.float64) - reference.astype(np.float64)
    return result


def _require_same_shape(reference: np.ndarray, export: np.ndarray) -> None:
    if reference.shape != export.shape:
        raise ValueError(f"shapes differ: {reference.shape} against {export.shape}")


def _log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    shifted = x - x.max(axis=axis, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return result


def by_measure(found: np.ndarray, expected: np.ndarray, measure: str) -> tuple[float, str]:
    """Return the error of an array against a recorded one, by a measure of ``golden.toml``.

    Returns:
        The error, and what forbids measuring it: a difference of shape or kind of type.
    """
    if found.shape != expected.shape:
        return np.inf, f"shape {list(found.shape)}, recorded {list(expected.shape)}"
    if found.dtype.kind != expected.dtype.kind:
        return np.inf, f"type {found.dtype}, recorded {expected.dtype}"
    if measure == "differing":
        return float((found != expected).sum()), ""
    error = np.abs(found.astype(np.float64) - expected)
    if measure == "absolute":
        return float(error.max(initial=0.0)), ""
    size = np.abs(expected.astype(np.float64))
    axes = tuple(range(1, error.ndim)) if measure == "relative_by_layer" else None
    largest, scale = error.max(axis=axes), size.max(axis=axes)
    # Where silence was recorded nothing but silence is right.
    with np.errstate(invalid="ignore"):
        share = np.where(largest == 0, 0.0, largest / np.where(scale == 0, np.nan, scale))
    return float(share.max()), ""
