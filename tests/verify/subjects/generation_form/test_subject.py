"""What a form is judged by: of what models, how often it is computed, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.exports import only
from tests.support.heard import Heard, record_for
from tests.support.records import matrix
from tests.support.sets import GOLDEN, GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import Gates, LearntRule, load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import BFLOAT16, FORMS
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.reports import Report, Verdict, write_reports
from vampnet_onnx.verify.gates.vacuity import vacuous_limits
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.standing import shortfalls
from vampnet_onnx.verify.subjects.case import Case, Computed
from vampnet_onnx.verify.subjects.generation_form import subject as room
from vampnet_onnx.verify.subjects.registry import missing_wholes, records_of, subject_of
from vampnet_onnx.verify.verification import verify_artifacts

FORM = "generation.int8"


def verified(artifacts: Artifacts, gates: Gates | None = None, **options: Any) -> Report:
    return verify_artifacts(
        artifacts,
        Checkpoints(GOLDEN / "a"),
        matrix=matrix(seeds=[0], frames=[5], batches=[1]),
        gates=gates or load_gates(),
        toolchain={},
        quick=True,
        progress=lambda *_: None,
        **options,
    )


def believing() -> Gates:
    """Return gates for which any model has learnt from music."""
    return load_gates().model_copy(update={"learnt": LearntRule(gain=-100)})


@pytest.fixture(scope="session")
def artifacts(forms_a: Path) -> Artifacts:
    return open_artifacts(forms_a)


def test_every_form_has_a_subject_and_gates() -> None:
    for form in (*FORMS, BFLOAT16):
        assert f"generation.{form}" in subject_of(f"generation.{form}").names
        rules = load_gates().for_component("generation", form)
        assert {"likelihood_shift", "entropy_shift", "usage_lost", "mel_share"} < rules.keys()


def test_in_float32_the_files_give_what_the_reference_does(
    artifacts: Artifacts, golden_a: GoldenSet
) -> None:
    (record,) = (r for r in records_of(artifacts.manifest) if r.id == FORM)
    subject = subject_of(record)
    inputs = subject.inputs(record, Case(record.id, 0, 6, 30, record.dim("n_codebooks")))
    expected = subject.reference(record, golden_a.models, inputs).outputs
    plain = record.model_copy(update={"variant": "fp32"})
    found = subject.run_whole(artifacts, plain, (), Runtime(threads=1))(inputs)
    np.testing.assert_array_equal(found["tokens"], expected["tokens"])
    assert np.abs(found["audio"] - expected["audio"]).max() < 2e-4


def test_a_model_that_has_learnt_nothing_is_no_judge(
    artifacts: Artifacts, demo: ModelSet, golden_a: GoldenSet
) -> None:
    subject, gates = subject_of(FORM), load_gates()
    assert subject.unfit(demo, gates) == ""
    assert "no better than chance (-0.8" in subject.unfit(golden_a.models, gates)
    with pytest.raises(
        InputError, match=r"generation\.int8: the reference predicts the codes"
    ):
        verified(artifacts, only=(FORM,))
    report = verified(artifacts, only=("sampler", FORM))
    assert report.verdict is Verdict.PASS and list(report.unfit) == [FORM]
    assert any("no better than chance" in note for note in report.notes)
    left = shortfalls(report, artifacts.manifest, matrix(), gates)[0]
    assert left.startswith("left out: ") and FORM not in left


def test_weights_that_say_they_are_random_are_not_even_opened(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sampler is of the codec's checkpoint alone.
    sources = [
        item if item.role == "codec" else item.model_copy(update={"label": "random"})
        for item in artifacts.manifest.sources
    ]
    labelled = artifacts.manifest.model_copy(
        update={"random_weights": True, "sources": sources}
    )
    monkeypatch.setattr(room, "gain_over_chance", pytest.fail)
    report = verified(replace(artifacts, manifest=labelled), only=("sampler", FORM))
    assert "random, by their checkpoint's own word" in report.unfit[FORM]


def test_the_reference_computes_once_for_all_forms_and_a_file_of_another_is_refused(
    artifacts: Artifacts, tmp_path: Path
) -> None:
    computed = list[str]()

    class Watched(Reference):
        def run(self, *arguments: Any) -> Computed:
            computed.append(arguments[1].id)
            return super().run(*arguments)

    parts = artifacts.manifest.components
    copied = [p.model_copy(update={"variant": "w8"}) for p in parts if p.variant == "int8"]
    both = artifacts.manifest.model_copy(update={"components": (*parts, *copied)})
    wholes = (FORM, "generation.w8")
    report = verified(
        replace(artifacts, manifest=both),
        believing(),
        only=wholes,
        oracle=Watched,
        elsewhere=pytest.fail,
    )
    assert len(computed) == 1
    first, second = report.components
    assert first.told and len(first.cases) == 1 and first.cases[0].batch == 64
    assert {gate.name: gate.value for gate in first.gates}["vacuous_limits"] == 0
    assert second.verdict is Verdict.FAIL and "the artifact failed to run" in (
        second.cases[0].message
    )
    written = write_reports(report, tmp_path)
    for kind in ("html", "md"):
        text = next(path for path in written.values() if path.suffix == f".{kind}").read_text()
        assert "64 variations of music were made by this form and by the reference" in text
        assert "how plausible" in text.lower() and " ± " in text


def test_limits_that_a_collapse_would_hold_are_named(heard: Heard) -> None:
    class Kept:
        def run(self, *_: object) -> Computed:
            return heard.reference

    sides = Sides(heard.record, Kept(), lambda _: {})  # type: ignore[arg-type]
    assert vacuous_limits(sides, [heard.case], load_gates()) == []
    loose = {FORM: {"entropy_shift": {"limit": 9.0}, "mel_share": {"limit": 2.0}}}
    found = vacuous_limits(sides, [heard.case], load_gates(loose))
    assert found == ["entropy_shift", "mel_share"]


@pytest.mark.parametrize("batch", [2, 30, 33])
def test_a_case_of_few_seeds_is_refused(demo: ModelSet, batch: int) -> None:
    record = record_for(demo)
    with pytest.raises(InputError, match="an even number of seeds, 32 or more"):
        subject_of(record).require(record, Case(record.id, 0, batch, 48, 10))


def test_a_form_without_what_it_takes_is_missed_and_one_that_is_not_there_is_not(
    artifacts: Artifacts,
) -> None:
    missed = dict(missing_wholes(only(artifacts, "coarse.int8", "c2f").manifest))
    assert set(missed) == {"generation", FORM}
    assert missed[FORM] == ("coarse.int8", "sampler", "codec_decoder", "codec_encoder")
    assert dict(missing_wholes(artifacts.manifest)) == {}
