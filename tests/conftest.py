"""Fixtures shared by the tests: the golden sets and the models of their checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch

from export.export_set import Request, export_set
from models import ModelSet, open_models
from pipeline.vamp import VampPipeline

GOLDEN = Path(__file__).parent / "golden"

EXPORTED_RATES = (16000, 22050, 48000)  # of the golden preparations, beside the codecs' own

torch.set_num_threads(2)


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
        return sorted({"/".join(k.split("/")[:2]) for k in self._arrays
                       if k.startswith(f"{kind}/")})  # fmt: skip


@pytest.fixture(scope="session", params=["a", "b"])
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return GoldenSet(GOLDEN / request.param)


@pytest.fixture(scope="session")
def golden_a() -> GoldenSet:
    return GoldenSet(GOLDEN / "a")


@pytest.fixture(scope="session")
def exported(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a golden set's artifacts, every component; tests copy what they change."""
    return _exported(golden.folder, tmp_path_factory)


@pytest.fixture(scope="session")
def exported_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported(GOLDEN / "a", tmp_path_factory)


@pytest.fixture(scope="session")
def pipeline_a(exported_a: Path) -> VampPipeline:
    return VampPipeline.open(exported_a)


_EXPORTED: dict[Path, Path] = {}


def _exported(checkpoint: Path, factory: pytest.TempPathFactory) -> Path:
    if checkpoint not in _EXPORTED:
        folder = factory.mktemp("artifacts") / "v1"
        folder.mkdir()
        request = Request(
            model=f"golden-{checkpoint.name}", checkpoint=checkpoint, components=None,
            inputs=("codes",), opset=20, external_data=False, lora={}, rates=EXPORTED_RATES,
        )  # fmt: skip
        export_set(request, folder, progress=lambda _name, _done, _total: None)
        _EXPORTED[checkpoint] = folder
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
