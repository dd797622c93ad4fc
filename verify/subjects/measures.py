"""What a comparison of one case holds, and the measures that all components share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vampnet_onnx.verify.numbers import metrics


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of a case.

    Attributes:
        compared: by codebook, int64 [codebooks].
        differing: by codebook, int64 [codebooks].
        ambiguous: ties of the reference.
    """

    compared: np.ndarray
    differing: np.ndarray
    ambiguous: int


@dataclass(frozen=True)
class Comparison:
    """How the sides compare on one case.

    Attributes:
        metrics: by name.
        quantity: what error and scatter are of.
        error: absolute error, float [rows, time]; of codes, 1 where any item differs.
        rows: label of each row.
        unit: of the time axis.
        reference: main float output, for the scatter.
        export: the same of the export.
        tokens: counts, if the component gives tokens.
        of_codes: error says where codes differ, not by how much a quantity does.
        message: what went wrong and where, empty if nothing did.
    """

    metrics: dict[str, float]
    quantity: str
    error: np.ndarray
    rows: list[str]
    unit: str
    reference: np.ndarray
    export: np.ndarray
    tokens: TokenCounts | None = None
    of_codes: bool = False
    message: str = ""


def float_metrics(r: np.ndarray, e: np.ndarray) -> dict[str, float]:
    """Return how far two float arrays are apart."""
    return {
        "pearson": metrics.pearson(r, e),
        "max_abs": metrics.max_abs(r, e),
        "mean_abs": metrics.mean_abs(r, e),
        "relative_l2": metrics.relative_l2(r, e),
        "snr_db": metrics.snr_db(r, e),
    }


def nonfinite(r: np.ndarray, e: np.ndarray) -> dict[str, float]:
    """Count non-finite values on both sides."""
    of_reference, of_export = metrics.count_nonfinite(r), metrics.count_nonfinite(e)
    return {
        "nonfinite": float(of_reference + of_export),
        "nonfinite_reference": float(of_reference),
        "nonfinite_export": float(of_export),
        "nonfinite_disagreement": float(metrics.nonfinite_disagreement(r, e)),
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
