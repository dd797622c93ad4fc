"""The codec as a subject: its cases, and its ties."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import torch

from tests.support.checked import Doubtful, Outputs, failed, gate
from tests.support.records import cases_for, make_inputs, matrix, record
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of


def test_a_few_ties_are_ambiguous_and_many_are_an_error(
    check: Callable[..., Component], models: ModelSet
) -> None:
    def flip_first(inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        if inputs["audio"].shape[0] == 1 and inputs["audio"].shape[-1] > 700:
            found["codes"][0, 2, 5] = (found["codes"][0, 2, 5] + 1) % 11
        return found

    def flip_all(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        return {**found, "codes": (found["codes"] + 1) % 11}

    sizes = {"seeds": [0], "frames": [1, 200], "batches": [1, 3]}
    few = check("codec_encoder", flip_first, reference=Doubtful(models), **sizes)
    assert few.verdict == "PASS"
    assert gate(few, "tokens_ambiguous_share").verdict == "AMBIGUOUS"
    assert sum(case.ambiguous for case in few.cases) == 2
    many = check("codec_encoder", flip_all, reference=Doubtful(models), **sizes)
    assert many.verdict == "FAIL" and "tokens_ambiguous_share" in failed(many)
    certain = check("codec_encoder", flip_first, **sizes)
    assert "tokens_unexplained" in failed(certain)


def test_latents_after_a_tie_are_not_held_against_the_export(
    check: Callable[..., Component], models: ModelSet
) -> None:
    """They belong to another residual; those of the tie itself and before it count."""

    def another_residual(inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        found["codes"][0, 0, 0] = (found["codes"][0, 0, 0] + 1) % 11
        found["latents"][0, 5:, 0] += 1
        return found

    def same_residual(inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        found["codes"][0, 1, 0] = (found["codes"][0, 1, 0] + 1) % 11
        found["latents"][0, 5:10, 0] += 1
        return found

    doubtful = Doubtful(models)
    sizes = {"seeds": [0], "frames": [200], "batches": [3]}
    excused = check("codec_encoder", another_residual, reference=doubtful, **sizes)
    assert "relative_l2" not in failed(excused)
    held = check("codec_encoder", same_residual, reference=doubtful, **sizes)
    assert "relative_l2" in failed(held)


def test_audio_is_neither_silent_nor_clipped() -> None:
    for seed in range(8):
        case = Case("codec_encoder", seed, 2, 4000)
        audio = make_inputs(case, record("codec_encoder"))["audio"]
        assert 0.02 < audio.std() < 0.5 and np.abs(audio).max() < 1
        assert not np.array_equal(audio[0], audio[1])


def test_the_encoder_is_tried_on_and_off_the_hop_and_at_one_sample() -> None:
    cases = cases_for(record("codec_encoder"), matrix(frames=[1, 7, 13]))
    lengths = {case.length for case in cases}
    hop = 4
    assert 1 in lengths and {hop, 7 * hop, 13 * hop} <= lengths
    assert any(length % hop for length in lengths if length > hop)
    assert min(lengths) == 1


def test_the_decoder_is_given_every_number_of_codebooks() -> None:
    cases = cases_for(record("codec_decoder"), matrix(seeds=[0, 1, 2], frames=[1, 7, 13]))
    assert {case.codebooks for case in cases} == {1, 2, 3}
    assert {case.codebooks for case in cases if case.length == 1} == {3}


def test_a_tie_excuses_the_other_entry_and_no_third(models: ModelSet) -> None:
    """The export's own choice must be as near as the reference's best."""
    subject, encoder = subject_of("codec_encoder"), record("codec_encoder")
    case = Case("codec_encoder", 0, 1, 40)
    with torch.inference_mode():
        computed = subject.reference(encoder, models, make_inputs(case, encoder))
    assert computed.margins is not None
    doubtful = dataclasses.replace(computed, margins=np.zeros_like(computed.margins))
    codes = computed.outputs["codes"].copy()
    codes[0, 0, 0] = (codes[0, 0, 0] + 1) % 11
    wrong = {**computed.outputs, "codes": codes}
    found = subject.compare(encoder, doubtful, wrong, load_gates().ties)
    assert found.metrics["tokens_unexplained"] >= 1
