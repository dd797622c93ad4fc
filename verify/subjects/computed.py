"""What a side of a comparison computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Computed:
    """What a side computed.

    Attributes:
        outputs: arrays by output name.
        margins: best minus second-best score of each token, of the tokens' shape; only the
            reference has them.
    """

    outputs: dict[str, np.ndarray]
    margins: np.ndarray | None = None
