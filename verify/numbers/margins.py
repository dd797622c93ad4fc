"""Margins of the codes of a residual quantiser, from its latents and tables alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ties import top_two_margin


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


def _normalised(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: np.ndarray = vectors / np.maximum(length, 1e-12)
    return result
