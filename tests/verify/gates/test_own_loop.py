"""A generator against the pipeline's own loop: nothing may differ, what does is counted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.exports import only, record_of
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.export.onnx_file import read_graph, save_beside
from vampnet_onnx.verify.gates.measured import Measured
from vampnet_onnx.verify.gates.own_loop import own_loop
from vampnet_onnx.verify.self_test.run import chosen_defects
from vampnet_onnx.verify.subjects.case import Arrays, Case
from vampnet_onnx.verify.subjects.registry import subject_of

ONE = Runtime(threads=1)


def cases(artifacts: Artifacts, name: str) -> Iterator[tuple[Case, Arrays]]:
    record = record_of(artifacts, name)
    subject = subject_of(record)
    for case in subject.cases(record, matrix(seeds=[5], frames=[9], batches=[2])):
        yield case, subject.inputs(record, case)


@pytest.mark.parametrize("name", ["coarse.generator", "c2f.generator"])
def test_nothing_differs_at_once_step_by_step_or_in_slices(
    generator_artifacts: Artifacts, name: str
) -> None:
    record = record_of(generator_artifacts, name)
    found = own_loop(generator_artifacts, record, cases(generator_artifacts, name), ONE)
    assert found == Measured(0)


def test_a_planted_defect_is_counted_and_told(
    generator_artifacts: Artifacts, tmp_path: Path
) -> None:
    folder = tmp_path / "v1"
    shutil.copytree(generator_artifacts.folder, folder)
    (defect,) = chosen_defects(["RoundDropped"])
    path = folder / "coarse.generator.onnx"
    model = read_graph(path)
    defect.plant(model)  # type: ignore[attr-defined]
    save_beside(model, path, folder / "coarse.onnx")
    opened = open_artifacts(folder, unsealed=True)
    record = record_of(opened, "coarse.generator")
    found = own_loop(opened, record, cases(opened, "coarse.generator"), ONE)
    assert found.value > 50
    assert "codes differ step by step in coarse.generator/seed=5" in found.message


def test_without_the_loops_own_parts_nothing_is_judged(generator_artifacts: Artifacts) -> None:
    artifacts = only(generator_artifacts, "coarse", "coarse.generator")
    record = record_of(artifacts, "coarse.generator")
    found = own_loop(artifacts, record, cases(artifacts, "coarse.generator"), ONE)
    assert found.unjudged and found.doubt == (
        "there is no sampler to run the pipeline's own loop with"
    )
