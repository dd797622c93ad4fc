"""A sound export, to plant mistakes in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vampnet_onnx.configs.manifest import ComponentRecord


@dataclass(frozen=True)
class Sound:
    """A sound export, its record and an input."""

    record: ComponentRecord
    path: Path
    inputs: dict[str, np.ndarray]
