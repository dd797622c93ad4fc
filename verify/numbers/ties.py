"""Which differing tokens are ties of the reference, and which are errors.

A token that differs is ambiguous only where the reference's own margin between its best and
second choice is below a stated tolerance, and where the token chosen instead is itself as near
to the best by the reference's scores: a doubt between two excuses no third.  In a residual
quantiser one code decides the residual that all later codebooks of the frame see, so
differences after an ambiguous one are laid to its cause; a difference after an error is an
error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Two squared distances of up to 4 in float32, the encodings' own rounding included.
_CODE_ROUNDING = 1e-6


@dataclass(frozen=True)
class TokenDifferences:
    """Where tokens differ, bool arrays of the tokens' shape.

    Attributes:
        knock_on: later codebooks of a frame that an ambiguous code sent another way.
    """

    unexplained: np.ndarray
    ambiguous: np.ndarray
    knock_on: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """Every differing token."""
        result: np.ndarray = self.unexplained | self.ambiguous | self.knock_on
        return result


def independent_differences(
    reference: np.ndarray,
    export: np.ndarray,
    margins: np.ndarray,
    tolerance: np.ndarray | float,
    behind: np.ndarray | None = None,
) -> TokenDifferences:
    """Classify tokens that do not depend on each other.

    Args:
        margins: of the reference, same shape; NaN is no margin.
        behind: by how much the export's tokens are behind the best by the reference's scores;
            None where those are not known.
    """
    differs = reference != export
    tie = margins < tolerance
    if behind is not None:
        tie = tie & (behind < tolerance)
    return TokenDifferences(differs & ~tie, differs & tie, np.zeros_like(differs))


def residual_differences(
    reference: np.ndarray,
    export: np.ndarray,
    margins: np.ndarray,
    tolerance: float,
    behind: np.ndarray | None = None,
) -> TokenDifferences:
    """Classify codes of a residual quantiser.

    Args:
        reference: int [B, N, T].
        export: int [B, N, T].
        margins: of the reference, float [B, N, T].
        tolerance: squared distance on the unit sphere.
        behind: as of `independent_differences`, float [B, N, T]; counts for the first code of
            a frame that differs, which was chosen for the same residual.
    """
    differs = reference != export
    first = differs & (np.cumsum(differs, axis=1) == 1)
    ambiguous = first & (margins < tolerance)
    if behind is not None:
        ambiguous &= behind < tolerance + _CODE_ROUNDING
    excused = np.cumsum(ambiguous, axis=1) > 0
    knock_on = differs & excused & ~ambiguous
    return TokenDifferences(differs & ~excused, ambiguous, knock_on)


def margin_words(margin: float, unit: str = "") -> str:
    """Say how far the reference was from deciding otherwise; infinite: it could not have."""
    return f"margin {margin:.3g}{unit}" if np.isfinite(margin) else "with no tie possible"


def top_two_margin(scores: np.ndarray, axis: int) -> np.ndarray:
    """Return best minus second-best score along an axis (infinite for a single entry)."""
    if scores.shape[axis] < 2:
        return np.full(np.delete(scores.shape, axis), np.inf)
    top = np.partition(scores, -2, axis=axis)
    margin: np.ndarray = np.take(top, -1, axis=axis) - np.take(top, -2, axis=axis)
    return margin


def code_margins(latents: np.ndarray, tables: Sequence[np.ndarray]) -> np.ndarray:
    """Return by how much each code won: second-smallest minus smallest squared distance.

    Distances are between L2-normalised vectors, as the codec compares them.

    Args:
        latents: every codebook's projected residual, float [B, sum of widths, T].
        tables: entries of each codebook, float [entries, width].

    Returns:
        float [B, codebooks, T], of the latents' precision.
    """
    starts = np.cumsum([table.shape[1] for table in tables])[:-1]
    margins = []
    for part, table in zip(np.split(latents, starts, axis=1), tables, strict=True):
        encodings = _normalised(part.transpose(0, 2, 1))
        entries = _normalised(table.astype(latents.dtype))
        # Both have length 1 (or 0), so distances differ by the products alone.
        margins.append(top_two_margin(2 * encodings @ entries.T, axis=-1))
    return np.stack(margins, axis=1)


def codes_behind(
    latents: np.ndarray, tables: Sequence[np.ndarray], codes: np.ndarray
) -> np.ndarray:
    """Return by how much codes are farther than the nearest entry, float64 [B, codebooks, T].

    Args:
        latents: as of `code_margins`, and so the tables.
        codes: int [B, codebooks, T]; what is no entry is infinitely far.
    """
    starts = np.cumsum([table.shape[1] for table in tables])[:-1]
    behind = []
    for i, part in enumerate(np.split(latents.astype(np.float64), starts, axis=1)):
        entries = _normalised(tables[i].astype(np.float64))
        scores = 2 * _normalised(part.transpose(0, 2, 1)) @ entries.T
        known = (codes[:, i] >= 0) & (codes[:, i] < len(entries))
        chosen = np.take_along_axis(scores, np.where(known, codes[:, i], 0)[..., None], -1)
        behind.append(np.where(known, scores.max(axis=-1) - chosen[..., 0], np.inf))
    return np.stack(behind, axis=1)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: np.ndarray = vectors / np.maximum(length, 1e-12)
    return result
