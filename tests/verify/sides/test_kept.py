"""A whole whose reference is computed beforehand: the same report, with the models gone."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.networks.vampnet import VampNet
from vampnet_onnx.reports import Report
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.subjects.case import Case, Computed
from vampnet_onnx.verify.subjects.generation import subject
from vampnet_onnx.verify.verification import verify_artifacts


def _verified(artifacts: Artifacts, folder: Path, **options: Any) -> Report:
    return verify_artifacts(
        artifacts,
        Checkpoints(folder),
        matrix=matrix(seeds=[0, 1]),
        gates=load_gates(),
        toolchain={},
        progress=lambda _name, _done, _total: None,
        **options,
    )


def test_transformers_are_gone_before_the_first_file_runs_and_nothing_is_computed_twice(
    generation_artifacts: Artifacts, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive, computed, ran = weakref.WeakSet[VampNet](), list[str](), list[int]()

    class Watched(Reference):
        def run(self, *arguments: Any) -> Computed:
            alive.update(self._models.transformers.values())
            computed.append(arguments[1].id)
            return super().run(*arguments)

    plain = subject.exported_generation

    def watched(*arguments: Any, **options: Any) -> Any:
        export = plain(*arguments, **options)

        def run(inputs: Any) -> Any:
            gc.collect()
            ran.append(len(alive))
            return export(inputs)

        return run

    monkeypatch.setattr(subject, "exported_generation", watched)
    report = _verified(generation_artifacts, nano, only=("generation",), oracle=Watched)
    assert report.verdict == "PASS" and len(computed) == len(set(computed)) == 2
    assert ran and not any(ran)


def test_a_case_by_its_id_gives_what_the_whole_matrix_gives(
    generation_artifacts: Artifacts, nano: Path
) -> None:
    (whole,) = _verified(generation_artifacts, nano, only=("generation",)).components
    (one,) = _verified(
        generation_artifacts, nano, cases=[Case.parse(whole.cases[1].id)]
    ).components
    assert [c.metrics for c in one.cases] == [c.metrics for c in whole.cases[1:]]
    assert [c.id for c in one.cases] == [c.id for c in whole.cases[1:]]


def test_what_the_reference_cannot_compute_fails_its_case_alone(
    generation_artifacts: Artifacts, nano: Path
) -> None:
    class Overflowing(Reference):
        def run(self, *arguments: Any) -> Computed:
            if arguments[1].seed == 1:
                raise FloatingPointError("logits are not finite")
            return super().run(*arguments)

    (found,) = _verified(
        generation_artifacts, nano, only=("generation",), oracle=Overflowing
    ).components
    assert [case.verdict for case in found.cases] == ["PASS", "FAIL"]
    assert "the reference failed: logits are not finite" in found.cases[1].message

    class Broken(Reference):
        def run(self, *arguments: Any) -> Computed:
            raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        _verified(generation_artifacts, nano, only=("generation",), oracle=Broken)
