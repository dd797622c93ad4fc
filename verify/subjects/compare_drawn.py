"""One case of a drawn component, both sides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vampnet_onnx.configs.config import Ties
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.numbers.ties import TokenDifferences

from .computed import Computed
from .measures import Comparison, TokenCounts, float_metrics, nonfinite, nonfinite_message
from .random import integer_dim

_Outputs = Mapping[str, np.ndarray]


def compare_drawn(
    component: ComponentRecord, reference: Computed, export: _Outputs, ties: Ties
) -> Comparison:
    """Compare the two sides of one case.

    Args:
        component: from the manifest.
        reference: outputs of the oracle, and the sampler's margins.
        export: outputs of the artifact.
        ties: margins below which a token is a tie.
    """
    if component.name == "audio_processor":
        return _compare_audio(reference.outputs, export)
    if component.name == "mask_generator":
        return _compare_masks(component, reference.outputs["mask"], export["mask"])
    return _compare_sampler(component, reference, export, ties)


def _compare_audio(reference: _Outputs, export: _Outputs) -> Comparison:
    r, e = reference["prepared"], export["prepared"]
    loudness_r, loudness_e = reference["loudness"], export["loudness"]
    values = np.concatenate([r.ravel(), loudness_r]), np.concatenate([e.ravel(), loudness_e])
    return Comparison(
        metrics={
            **float_metrics(r, e),
            "loudness_error": metrics.max_abs(loudness_r, loudness_e),
            **nonfinite(*values),
        },
        quantity="prepared audio",
        error=np.abs(e.astype(np.float64) - r)[:, 0],
        rows=[f"item {i}" for i in range(r.shape[0])],
        unit="samples",
        reference=r,
        export=e,
        message=nonfinite_message(*values),
    )


def _compare_masks(component: ComponentRecord, r: np.ndarray, e: np.ndarray) -> Comparison:
    differs = r != e
    books = integer_dim(component.dims, "n_codebooks")
    message = ""
    if differs.any():
        where = tuple(int(i) for i in np.argwhere(differs)[0])
        message = f"first difference at {where}: reference {r[where]}, export {e[where]}"
    return Comparison(
        metrics={
            "codes_differing": float(differs.sum()),
            "relative_l2": metrics.relative_l2(r, e),
            **nonfinite(r, e),
        },
        quantity="mask",
        error=differs.any(axis=0).astype(np.float64),
        rows=[f"codebook {i}" for i in range(books)],
        unit="frames",
        of_codes=True,
        reference=r,
        export=e,
        tokens=_counts(differs.transpose(1, 0, 2), 0),
        message=message,
    )


def _compare_sampler(
    component: ComponentRecord, reference: Computed, export: _Outputs, ties: Ties
) -> Comparison:
    assert reference.margins is not None
    drawing, remasking = reference.margins
    expected = reference.outputs
    batch, books, frames = expected["sampled"].shape

    def flat(codes: np.ndarray) -> np.ndarray:
        return codes.transpose(0, 2, 1).reshape(batch, -1)

    r, e = expected["confidence"], export["confidence"]
    # Where a filter or a draw was a tie, another entry has another confidence.
    uncertain = drawing < ties.draws_margin
    drawn = flat(expected["sampled"] != export["sampled"])
    other = uncertain & (drawn | (np.abs(e - r) > ties.draws_margin))
    masked = flat(expected["next_mask"] != export["next_mask"])
    largest = np.abs(r).max(axis=1, keepdims=True)
    tied = remasking < ties.draws_margin * largest
    excused = other.any(axis=1, keepdims=True)
    wrong = (drawn & ~uncertain) | (masked & ~tied & ~excused)
    # The next codes are what was drawn and what is masked again, and nothing else.
    mask_token = integer_dim(component.dims, "codebook_size")
    made = np.where(export["next_mask"] == 1, mask_token, export["sampled"])
    wrong |= flat(export["next_codes"] != made)
    found = TokenDifferences(
        unexplained=wrong,
        ambiguous=((drawn & uncertain) | (masked & tied)) & ~wrong,
        knock_on=masked & excused & ~tied & ~wrong,
    )
    compared = ~uncertain
    return Comparison(
        metrics={
            **float_metrics(r[compared], e[compared]),
            **nonfinite(r, e),
            "token_accuracy": 1 - float(found.any.sum()) / found.any.size,
            "tokens_unexplained": float(wrong.sum()),
        },
        quantity="confidence",
        error=np.abs(e.astype(np.float64) - r).max(axis=0).reshape(frames, books).T,
        rows=[f"predicted codebook {i}" for i in range(books)],
        unit="frames",
        reference=r[compared],
        export=e[compared],
        tokens=_counts(
            found.any.reshape(batch, frames, books).transpose(2, 0, 1),
            int(found.ambiguous.sum()),
        ),
        message=_sampler_message(wrong, drawn, drawing, remasking, r, e),
    )


def _counts(differs: np.ndarray, ambiguous: int) -> TokenCounts:
    """Count differing tokens, bool [codebooks, ...], by codebook."""
    differing = differs.reshape(len(differs), -1).sum(axis=1)
    return TokenCounts(np.full_like(differing, differs[0].size), differing, ambiguous)


def _sampler_message(
    wrong: np.ndarray,
    drawn: np.ndarray,
    drawing: np.ndarray,
    remasking: np.ndarray,
    r: np.ndarray,
    e: np.ndarray,
) -> str:
    parts = [nonfinite_message(r, e)]
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        what = "token" if drawn[where] else "choice of what to mask again"
        margin = (drawing if drawn[where] else remasking)[where]
        parts.append(
            f"first unexplained {what} at item {where[0]}, position {where[1]}: confidence"
            f" {r[where]:.6g} against {e[where]:.6g}, margin {margin:.3g}"
        )
    return "; ".join(part for part in parts if part)
