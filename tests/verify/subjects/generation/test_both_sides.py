"""Whole generations on both sides: step by step, then as audio."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.generations import GENERATION, both_sides
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.pipeline.steps import generate as pipeline_generate
from vampnet_onnx.reports import Component, Verdict
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.generation.both_sides import exported_generation
from vampnet_onnx.verify.subjects.generation.plan import SETTINGS


def check(artifacts: Artifacts, models: ModelSet, seeds: list[int]) -> Component:
    record = GENERATION.whole(artifacts.manifest)
    assert record is not None
    run = exported_generation(artifacts, record, runtime=Runtime(threads=1))
    sides = Sides(record, Reference(models), run)
    return check_component(sides, matrix=matrix(seeds=seeds), gates=load_gates())


def test_every_token_of_every_step_is_the_references(
    generation_artifacts: Artifacts, models: ModelSet
) -> None:
    report = check(generation_artifacts, models, [0, 1, 2, 3, 4, 5])
    assert report.verdict is Verdict.PASS
    assert {case.id.rpartition("/")[2] for case in report.cases} == set(SETTINGS)
    assert report.metrics["steps_differing"] == 0
    assert report.metrics["token_accuracy"] == 1
    assert report.metrics["mel_distance"] < 1e-3


@pytest.mark.parametrize("setting", range(len(SETTINGS)))
def test_steps_are_where_their_codes_are(
    generation_artifacts: Artifacts, models: ModelSet, setting: int
) -> None:
    reference, export = both_sides(generation_artifacts, models, setting)
    sampled, tokens = export["sampled"], export["tokens"]
    assert len(sampled) == len(reference.outputs["sampled"]) > 6
    # The last step over a place decides what is there.
    last = np.full_like(tokens, -1)
    for step in sampled:
        last = np.where(step >= 0, step, last)
    np.testing.assert_array_equal(last, tokens)


def test_a_generation_that_counts_wrongly_is_caught_and_the_step_named(
    generation_artifacts: Artifacts, models: ModelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = pipeline_generate._count_at_start
    monkeypatch.setattr(pipeline_generate, "_count_at_start", lambda *given: count(*given) - 2)
    report = check(generation_artifacts, models, [0])
    assert report.verdict is Verdict.FAIL
    assert "first difference, an error: step 1 of" in report.cases[0].message
    assert "chosen to be masked again" in report.cases[0].message
