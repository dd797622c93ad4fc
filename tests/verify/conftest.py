"""Components checked with something of them changed, and stand-ins for the packages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.checked import Change, Outputs
from tests.support.exports import export_to, record_of, session
from tests.support.generations import PARTS
from tests.support.once import made_once
from tests.support.planting import Sound
from tests.support.records import matrix
from tests.support.sets import GOLDEN
from tests.support.upstream_packages import PUBLISHED, STUB, python_with
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import Gates, load_gates
from vampnet_onnx.models import Checkpoints, ModelSet, open_models
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.self_test.run import export_with
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.sides.upstream import Worker, open_worker
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of


@pytest.fixture(scope="session")
def check(models: ModelSet, nano_artifacts: Artifacts) -> Callable[..., Component]:
    """Verify one component whose outputs, or whose graph, are changed."""

    def run(
        name: str,
        change: Change | None = None,
        *,
        edit: Callable[[onnx.ModelProto], object] | None = None,
        gates: Gates | None = None,
        mismatches: list[str] | None = None,
        reference: Any = None,
        **sizes: list[int],
    ) -> Component:
        record = record_of(nano_artifacts, name)
        path = nano_artifacts.path(record)
        if edit is None:
            runner = session(path)
        else:
            model = onnx.load(str(path))
            edit(model)
            runner = session(model.SerializeToString())
        names = [item.name for item in runner.get_outputs()]

        def export(inputs: Mapping[str, np.ndarray]) -> Outputs:
            found = dict(zip(names, runner.run(None, dict(inputs)), strict=True))
            return change(inputs, found) if change else found

        sides = Sides(record, reference or Reference(models), export, mismatches or [])
        return check_component(sides, matrix=matrix(**sizes), gates=gates or load_gates())

    return run


@pytest.fixture(scope="session")
def stub_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with stand-ins; with the packages where ``nox -s published`` says so."""
    if PUBLISHED in os.environ:
        return Path(os.environ[PUBLISHED])
    return python_with(tmp_path_factory.mktemp("stub"), STUB)


@pytest.fixture(scope="session")
def worker(stub_python: Path) -> Iterator[Worker]:
    with open_worker(
        stub_python, Checkpoints(GOLDEN / "a"), chunk_seconds=(1.0, 0.4), threads=1
    ) as found:
        yield found


@pytest.fixture(scope="session")
def generation_artifacts(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    folder = made_once(
        tmp_path_factory,
        "generation-artifacts",
        lambda new: export_to(new / "v1", nano, components=PARTS, inputs=("codes",)),
    )
    return open_artifacts(folder / "v1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    """The set that defects are planted in; shared, so tests leave it as it is."""
    folder = tmp_path_factory.mktemp("tiny")
    write_random_set(folder, like="tiny", seed=0, beats=True)
    return open_models(folder)


@pytest.fixture(scope="session")
def sound(tiny: ModelSet, tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """A sound export of c2f."""
    record, path = export_with(tiny, "c2f", tmp_path_factory.mktemp("sound"))
    inputs = subject_of(record).inputs(record, Case("c2f", 17, 2, 24))
    return Sound(record, path, inputs)
