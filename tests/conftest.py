"""Fixtures shared by the tests: the golden sets and the models of their checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.exports import export_to
from tests.support.sets import EXPORTED_RATES, GOLDEN, NANO, NETWORKS, GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file
from vampnet_onnx.pipeline.vamp import VampPipeline

torch.set_num_threads(1)  # two workers share two cores


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
