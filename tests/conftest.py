"""Fixtures shared by the tests: the golden sets and the models of their checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import ModelSet, open_models
from models.random_checkpoint import write_random_file
from pipeline.artifacts import Artifacts
from pipeline.vamp import VampPipeline
from tests.exports import export_to

GOLDEN = Path(__file__).parent / "golden"

EXPORTED_RATES = (16000, 22050, 48000)  # of the golden preparations, beside the codecs' own

torch.set_num_threads(1)  # two workers share two cores

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
        return sorted(
            {"/".join(k.split("/")[:2]) for k in self._arrays if k.startswith(f"{kind}/")}
        )


@pytest.fixture(scope="session", params=["a", "b"])
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return GoldenSet(GOLDEN / request.param)


@pytest.fixture(scope="session")
def golden_a() -> GoldenSet:
    return GoldenSet(GOLDEN / "a")


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the nano checkpoints; shared, so tests copy what they change."""
    folder = tmp_path_factory.mktemp("nano") / "nano"
    for seed, (name, kwargs) in enumerate(NANO.items()):
        write_random_file(folder / f"{name}.pth", kwargs, seed=seed)
    return folder


@pytest.fixture(scope="session")
def nano_artifacts(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Every network of the nano set, exported once; tests copy what they change."""
    folder = tmp_path_factory.mktemp("nano-artifacts") / "v1"
    return export_to(folder, nano, components=NETWORKS)


@pytest.fixture(scope="session")
def golden_artifacts(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Every component of a golden set, exported once; tests copy what they change."""
    return _exported(golden.folder, tmp_path_factory)


@pytest.fixture(scope="session")
def exported(golden_artifacts: Artifacts) -> Path:
    """Folder of a golden set's artifacts."""
    return golden_artifacts.folder


@pytest.fixture(scope="session")
def exported_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported(GOLDEN / "a", tmp_path_factory).folder


@pytest.fixture(scope="session")
def pipeline_a(exported_a: Path) -> VampPipeline:
    return VampPipeline.open(exported_a)


_EXPORTED: dict[Path, Artifacts] = {}


def _exported(checkpoint: Path, factory: pytest.TempPathFactory) -> Artifacts:
    """Export a golden set once a session; the entry by latents of set a only."""
    if checkpoint not in _EXPORTED:
        inputs = ("codes", "latents") if checkpoint.name == "a" else ("codes",)
        folder = factory.mktemp("artifacts") / "v1"
        _EXPORTED[checkpoint] = export_to(
            folder,
            checkpoint,
            model=f"golden-{checkpoint.name}",
            inputs=inputs,
            rates=EXPORTED_RATES,
        )
    return _EXPORTED[checkpoint]


def relative_error(actual: object, expected: object) -> float:
    """Return max |actual - expected| / max |expected|, in float64."""
    a, e = (np.asarray(x, dtype=np.float64) for x in (actual, expected))
    assert a.shape == e.shape, f"shapes differ: {a.shape} against {e.shape}"
    return float(np.abs(a - e).max() / np.abs(e).max())


def assert_within(actual: object, expected: object, tolerance: float) -> None:
    """Assert the relative error is at most `tolerance`; NaN fails."""
    error = relative_error(actual, expected)
    assert error <= tolerance, f"relative error {error:.3g} exceeds {tolerance:.3g}"
