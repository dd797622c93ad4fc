"""Generators verified: sound ones pass, and what a wrong one does is seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from tests.support.exports import record_of
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.pipeline.version.session import open_session
from vampnet_onnx.reports import Component, Verdict
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Arrays, RunExport
from vampnet_onnx.verify.subjects.generator import settings_of
from vampnet_onnx.verify.subjects.registry import subject_of

NAMES = ("coarse.generator", "c2f.generator")


def run_of(artifacts: Artifacts, name: str) -> RunExport:
    return open_session(artifacts, record_of(artifacts, name), Runtime(threads=1)).run


def checked(artifacts: Artifacts, models: ModelSet, name: str, run: RunExport) -> Component:
    sides = Sides(record_of(artifacts, name), Reference(models), run)
    sizes = {"seeds": [0, 1], "frames": [1, 13], "batches": [1, 3]}
    return check_component(sides, matrix=matrix(**sizes), gates=load_gates())


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_generator_holds_every_gate_in_every_setting(
    generator_artifacts: Artifacts, models: ModelSet, name: str
) -> None:
    report = checked(generator_artifacts, models, name, run_of(generator_artifacts, name))
    assert report.verdict is Verdict.PASS
    tried = {case.id.rpartition("/")[2] for case in report.cases}
    assert tried == set(subject_of(record_of(generator_artifacts, name)).settings)
    assert report.metrics["token_accuracy"] == 1


def _from_the_beginning(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**inputs, "start": np.zeros((), np.int64)}


def _next_seed(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**inputs, "seed": np.array(int(inputs["seed"]) ^ 1, np.uint64)}


def _other_mode(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**inputs, "corrected": ~inputs["corrected"]}


@pytest.mark.parametrize(
    ("wrong", "gates"),
    [
        (_from_the_beginning, {"tokens_unexplained", "facts_differing"}),
        (_next_seed, {"tokens_unexplained"}),
        (_other_mode, {"tokens_unexplained", "facts_differing"}),
    ],
)
def test_what_an_input_says_and_the_graph_does_not_do_is_seen(
    generator_artifacts: Artifacts, models: ModelSet, wrong: RunExport, gates: set[str]
) -> None:
    run = run_of(generator_artifacts, "coarse.generator")
    report = checked(
        generator_artifacts, models, "coarse.generator", lambda inputs: run(wrong(inputs))
    )
    failed = {gate.name for gate in report.gates if gate.verdict is Verdict.FAIL}
    assert gates <= failed


def test_one_code_is_told_with_its_step_and_the_end_of_the_noise_by_itself(
    generator_artifacts: Artifacts, models: ModelSet
) -> None:
    run = run_of(generator_artifacts, "c2f.generator")

    def late(inputs: Mapping[str, np.ndarray]) -> Arrays:
        made = run(inputs)
        return {**made, "end": made["end"] + 1}

    report = checked(generator_artifacts, models, "c2f.generator", late)
    failed = [gate for gate in report.gates if gate.verdict is Verdict.FAIL]
    assert [gate.name for gate in failed] == ["facts_differing"]
    assert "end is " in failed[0].message

    def moved(inputs: Mapping[str, np.ndarray]) -> Arrays:
        made = run(inputs)
        sampled = made["sampled"].copy()
        sampled[1, 0, 0, 0] = (sampled[1, 0, 0, 0] + 1) % 12
        return {**made, "sampled": sampled}

    report = checked(generator_artifacts, models, "c2f.generator", moved)
    said = [case.message for case in report.cases if case.verdict is Verdict.FAIL]
    assert said and all("step 2 of" in text and "c2f.generator" not in text for text in said)


def test_options_are_read_back_as_they_were_given(generator_artifacts: Artifacts) -> None:
    record = record_of(generator_artifacts, "coarse.generator")
    subject = subject_of(record)
    seen = []
    for case in subject.cases(record, matrix(seeds=[0], frames=[5])):
        inputs = subject.inputs(record, case)
        assert {n: a.dtype.name for n, a in inputs.items()} == {
            item.name: item.dtype for item in record.inputs
        }
        seen.append(settings_of(inputs))
    assert len(set(seen)) == len(subject.settings)
