"""The sets that tests share, the golden ones and the smallest there is, and comparing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vampnet_onnx.models import ModelSet, open_models

GOLDEN = Path(__file__).parents[1] / "golden"

EXPORTED_RATES = (16000, 22050, 48000)  # of the golden preparations, beside the codecs' own

NETWORKS = ("codec_encoder", "codec_decoder", "coarse", "c2f")

# The smallest set there is, no dimension equal to another's: an export takes seconds.
NANO: dict[str, dict[str, Any]] = {
    "codec": {
        "encoder_dim": 3,
        "encoder_rates": [4],
        "decoder_dim": 10,
        "decoder_rates": [4],
        "n_codebooks": 3,
        "codebook_size": 11,
        "codebook_dim": 5,
        "sample_rate": 8000,
    },
    "coarse": {
        "n_heads": 3,
        "n_layers": 1,
        "n_codebooks": 2,
        "n_conditioning_codebooks": 0,
        "latent_dim": 5,
        "embedding_dim": 21,
        "vocab_size": 11,
    },
    "c2f": {
        "n_heads": 2,
        "n_layers": 1,
        "n_codebooks": 3,
        "n_conditioning_codebooks": 2,
        "latent_dim": 5,
        "embedding_dim": 18,
        "vocab_size": 11,
    },
}


@dataclass(frozen=True)
class GoldenSet:
    """Checkpoints in the published format and what the published packages computed."""

    folder: Path

    @cached_property
    def models(self) -> ModelSet:
        return open_models(self.folder)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        with np.load(self.folder / "reference.npz", allow_pickle=False) as data:
            return dict(data)

    def array(self, key: str) -> np.ndarray:
        return self._arrays[key]

    def tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self._arrays[key])

    def cases(self, kind: str) -> list[str]:
        """Return the prefixes ``kind/index`` recorded for a kind of case."""
        found = {"/".join(k.split("/")[:2]) for k in self._arrays if k.startswith(f"{kind}/")}
        assert found, f"no recorded case of {kind}"
        return sorted(found)


def relative_error(actual: object, expected: object) -> float:
    """Return max |actual - expected| / max |expected|, in float64."""
    a, e = (np.asarray(x, dtype=np.float64) for x in (actual, expected))
    assert a.shape == e.shape, f"shapes differ: {a.shape} against {e.shape}"
    return float(np.abs(a - e).max() / np.abs(e).max())


def assert_within(actual: object, expected: object, tolerance: float) -> None:
    """Assert the relative error is at most `tolerance`; NaN fails."""
    error = relative_error(actual, expected)
    assert error <= tolerance, f"relative error {error:.3g} exceeds {tolerance:.3g}"
