"""Whole generations on both sides: step by step, then as audio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import export_to
from tests.support.records import matrix
from tests.support.sets import NETWORKS
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.pipeline.steps import generate as pipeline_generate
from vampnet_onnx.reports import Component, Verdict
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.numbers.mel import mel_distance
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Computed
from vampnet_onnx.verify.subjects.generation.both_sides import ExportedGeneration
from vampnet_onnx.verify.subjects.generation.plan import SETTINGS
from vampnet_onnx.verify.subjects.registry import subject_of
from vampnet_onnx.verify.verification import verify_artifacts

GENERATION = subject_of("generation")
PARTS = (*NETWORKS, "sampler", "mask_generator")


@pytest.fixture(scope="module")
def artifacts(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    folder = tmp_path_factory.mktemp("whole") / "v1"
    return export_to(folder, nano, components=PARTS, inputs=("codes",))


def check(artifacts: Artifacts, models: ModelSet, seeds: list[int]) -> Component:
    record = GENERATION.whole(artifacts.manifest)
    assert record is not None
    run = ExportedGeneration(artifacts, record, threads=1).run
    sides = Sides(record, Reference(models), run)
    return check_component(sides, matrix=matrix(seeds=seeds), gates=load_gates())


def both_sides(
    artifacts: Artifacts, models: ModelSet, setting: int = 0
) -> tuple[Computed, dict[str, np.ndarray]]:
    record = GENERATION.whole(artifacts.manifest)
    assert record is not None
    case = GENERATION.cases(record, matrix(seeds=[0, 1, 2]))[setting]
    inputs = GENERATION.inputs(record, case)
    reference = Reference(models).run(record, case)
    return reference, ExportedGeneration(artifacts, record, threads=1).run(inputs)


def compared(
    artifacts: Artifacts, reference: Computed, export: Mapping[str, np.ndarray]
) -> tuple[dict[str, float], str, int]:
    record = GENERATION.whole(artifacts.manifest)
    assert record is not None
    found = GENERATION.compare(record, reference, export, load_gates().ties)
    assert found.tokens is not None
    return found.metrics, found.message, found.tokens.ambiguous


def test_every_token_of_every_step_is_the_references(
    artifacts: Artifacts, models: ModelSet
) -> None:
    report = check(artifacts, models, [0, 1, 2, 3, 4, 5])
    assert report.verdict is Verdict.PASS
    assert {case.id.rpartition("/")[2] for case in report.cases} == set(SETTINGS)
    assert report.metrics["steps_differing"] == 0
    assert report.metrics["token_accuracy"] == 1
    assert report.metrics["mel_distance"] < 1e-3


@pytest.mark.parametrize("setting", range(len(SETTINGS)))
def test_steps_are_where_their_codes_are(
    artifacts: Artifacts, models: ModelSet, setting: int
) -> None:
    reference, export = both_sides(artifacts, models, setting)
    sampled, tokens = export["sampled"], export["tokens"]
    assert len(sampled) == len(reference.outputs["sampled"]) > 6
    # The last step over a place decides what is there.
    last = np.full_like(tokens, -1)
    for step in sampled:
        last = np.where(step >= 0, step, last)
    np.testing.assert_array_equal(last, tokens)


def test_a_generation_that_counts_wrongly_is_caught_and_the_step_named(
    artifacts: Artifacts, models: ModelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = pipeline_generate._count_at_start
    monkeypatch.setattr(pipeline_generate, "_count_at_start", lambda *given: count(*given) - 2)
    report = check(artifacts, models, [0])
    assert report.verdict is Verdict.FAIL
    assert "first difference, an error: step 1 of" in report.cases[0].message
    assert "chosen to be masked again" in report.cases[0].message


def test_a_token_that_differs_without_a_tie_is_an_error(
    artifacts: Artifacts, models: ModelSet
) -> None:
    reference, export = both_sides(artifacts, models)
    where = tuple(np.argwhere(export["sampled"] >= 0)[100])
    changed = {name: array.copy() for name, array in export.items()}
    changed["sampled"][where] ^= 1
    metrics, message, ambiguous = compared(artifacts, reference, changed)
    assert metrics["tokens_unexplained"] == 1 and ambiguous == 0
    step, item, book, frame = where
    assert f"step {step + 1} of" in message
    assert f"item {item}, codebook {book}, frame {frame}: another code drawn" in message


def test_what_follows_a_tie_is_laid_to_it(artifacts: Artifacts, models: ModelSet) -> None:
    reference, export = both_sides(artifacts, models)
    where = tuple(np.argwhere(export["sampled"] >= 0)[100])
    assert reference.margins is not None
    margins = reference.margins.copy()
    margins[0][where] = 1e-9
    changed = {name: array.copy() for name, array in export.items()}
    changed["sampled"][where] ^= 1
    changed["sampled"][where[0] + 1 :] += 1
    changed["tokens"] = changed["tokens"] ^ 1
    metrics, message, ambiguous = compared(
        artifacts, replace(reference, margins=margins), changed
    )
    assert metrics["tokens_unexplained"] == 0 and ambiguous == 1
    assert "a tie of the reference" in message
    assert "snr_db" not in metrics  # no item is left whose audio could be compared


def test_audio_of_equal_tokens_must_be_equal(artifacts: Artifacts, models: ModelSet) -> None:
    reference, export = both_sides(artifacts, models)
    quieter = {**export, "audio": export["audio"] * np.float32(0.9)}
    metrics, _, _ = compared(artifacts, reference, quieter)
    assert metrics["tokens_unexplained"] == 0
    assert metrics["snr_db"] == pytest.approx(20, abs=0.01)
    assert metrics["mel_distance"] > 0.01


def test_a_result_put_together_wrongly_is_an_error(
    artifacts: Artifacts, models: ModelSet
) -> None:
    reference, export = both_sides(artifacts, models)
    metrics, _, _ = compared(
        artifacts, reference, {**export, "tokens": np.roll(export["tokens"], 1, axis=-1)}
    )
    assert metrics["tokens_unexplained"] > 0


def test_a_generation_can_be_asked_for_by_name_and_is_missed_where_a_part_is(
    artifacts: Artifacts, nano: Path, nano_artifacts: Artifacts
) -> None:
    def verified(opened: Artifacts, only: tuple[str, ...]) -> list[str]:
        report = verify_artifacts(
            opened,
            Checkpoints(nano),
            matrix=matrix(seeds=[0], frames=[13]),
            gates=load_gates(),
            toolchain={},
            only=only,
            progress=lambda *_: None,
        )
        assert report.verdict is Verdict.PASS
        return [*report.notes, *(c.name for c in report.components)]

    assert verified(artifacts, ("generation",)) == ["generation"]
    with pytest.raises(InputError, match="no component 'generation'"):
        verified(nano_artifacts, ("generation",))
    assert "no whole generation was compared" in verified(nano_artifacts, ())[0]


def test_mel_distance_is_in_decibels_and_never_of_nan() -> None:
    audio = np.random.default_rng(0).normal(size=(2, 1, 9000)).astype(np.float32) / 8
    assert mel_distance(audio, audio, 8000) == 0
    assert mel_distance(audio, audio * 10, 8000) == pytest.approx(20, abs=0.1)
    assert np.isnan(mel_distance(audio, np.full_like(audio, np.nan), 8000))
