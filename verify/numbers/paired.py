"""Two samples of the same seeds: what they differ by, and how sure that is.

A limit on a mean alone passes by luck, and one on significance passes whoever measures little.
So what is held to a limit is a bound: what the difference is at most, on either side, by two
standard errors.  Few seeds make it larger, never smaller.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

_ERRORS = 2  # standard errors: a difference as large is seen in one sample of twenty by chance


@dataclass(frozen=True)
class Paired:
    """A mean difference.

    Attributes:
        error: standard error of the mean; infinite of less than two pairs.
    """

    mean: float
    error: float

    @classmethod
    def of(cls, differences: np.ndarray) -> Self:
        """Sum up differences, float [pairs]."""
        count = len(differences)
        spread = float(differences.std(ddof=1)) if count > 1 else float("inf")
        return cls(float(differences.mean()), spread / count**0.5)

    @property
    def at_most(self) -> float:
        """How far from nothing the difference may be, on either side."""
        return abs(self.mean) + _ERRORS * self.error

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ± {self.error:.3f}"


def entropies(tokens: np.ndarray) -> np.ndarray:
    """Return the entropy of the codes in each row of time.

    Args:
        tokens: int64 [..., T].

    Returns:
        float64 [...], nats, by how often each code occurs in its row.
    """
    ordered = np.sort(tokens, axis=-1)
    rows = ordered.reshape(-1, ordered.shape[-1])
    found = np.empty(len(rows))
    for i, row in enumerate(rows):
        shares = np.diff(np.flatnonzero(np.r_[True, row[1:] != row[:-1], True])) / len(row)
        found[i] = -(shares * np.log(shares)).sum()
    return found.reshape(tokens.shape[:-1])


def used(tokens: np.ndarray) -> np.ndarray:
    """Return how many different codes each codebook has, int64 [C], of int64 [B, C, T]."""
    return np.array([len(np.unique(book)) for book in tokens.transpose(1, 0, 2)])
