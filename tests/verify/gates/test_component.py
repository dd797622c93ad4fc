"""One component: sound exports pass, and whatever is planted fails the right gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.checked import COMPONENTS, Change, Outputs, failed, gate, scaled, weights_of
from tests.support.exports import compute, record_of
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Case, Computed


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_sound_export_passes_every_gate(check: Callable[..., Component], name: str) -> None:
    result = check(name)
    assert result.verdict == "PASS" and failed(result) == set()
    assert all(g.value is not None and math.isfinite(g.limit) for g in result.gates)
    assert result.cases and {case.verdict for case in result.cases} <= {"PASS", "AMBIGUOUS"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", COMPONENTS)
def test_a_single_non_finite_value_in_one_case_fails_and_is_located(
    check: Callable[..., Component], name: str, bad: float
) -> None:
    output = {"codec_encoder": "latents", "codec_decoder": "audio"}.get(name, "logits")

    def plant(inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        (given,) = inputs.values()
        if given.shape[0] == 3 and given.shape[-1] >= 13:
            found[output][2, 0, 1] = bad
        return found

    result = check(name, plant, seeds=[0], frames=[1, 13])
    assert result.verdict == "FAIL" and "nonfinite" in failed(result)
    found = gate(result, "nonfinite")
    assert found.value == 1 and "batch=3" in found.worst_case
    assert "in the export, first at (2, 0, 1)" in found.message
    case = next(c for c in result.cases if c.id == found.worst_case)
    assert (case.verdict, case.nonfinite_export, case.nonfinite_reference) == ("FAIL", 1, 0)


def test_nan_in_a_weight_fails_every_gate_it_touches(check: Callable[..., Component]) -> None:
    result = check("coarse", edit=scaled("transformer.layers.0.norm_3.weight", math.nan))
    assert {"nonfinite", "relative_l2", "tokens_unexplained", "input_sensitivity"} <= failed(
        result
    )


def test_nan_on_both_sides_at_the_same_places_fails_too(
    check: Callable[..., Component], models: ModelSet
) -> None:
    class AlsoNaN(Reference):
        def run(self, *arguments: Any) -> Computed:
            found = super().run(*arguments)
            found.outputs["logits"] = found.outputs["logits"].copy()
            found.outputs["logits"][0, 0, 0] = math.nan
            return found

    def nan_too(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        found["logits"][0, 0, 0] = math.nan
        return found

    result = check("coarse", nan_too, reference=AlsoNaN(models))
    assert result.verdict == "FAIL"
    assert {"nonfinite", "relative_l2"} <= failed(result)
    assert result.metrics["nonfinite_disagreement"] == 0


def _one_code(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    found["codes"][0, 1, 0] = (found["codes"][0, 1, 0] + 1) % 11
    return found


def _swapped_codebooks(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {**found, "codes": np.ascontiguousarray(found["codes"][:, [1, 0, 2]])}


def _late(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {**found, "latents": np.roll(found["latents"], 1, axis=-1)}


def _latents_a_little_off(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {**found, "latents": found["latents"] * np.float32(1.0001)}


def _scrambled(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    """Read channel c * V + p where p * P + c is meant."""
    logits = found["logits"]
    batch, vocabulary, positions = logits.shape
    channels = logits.reshape(batch, vocabulary, -1, 2).transpose(0, 1, 3, 2)
    mixed = channels.reshape(batch, 2, vocabulary, -1).transpose(0, 2, 3, 1)
    return {"logits": np.ascontiguousarray(mixed).reshape(batch, vocabulary, positions)}


def _codebook_major(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    logits = found["logits"]
    split = logits.reshape(*logits.shape[:2], -1, 2).transpose(0, 1, 3, 2)
    return {"logits": np.ascontiguousarray(split).reshape(logits.shape)}


def _quieter(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {"audio": found["audio"] * np.float32(0.99)}


def _one_click(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    found["audio"][0, 0, 3] += 3e-3
    return found


def _mixed_items(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {key: np.ascontiguousarray(value[::-1]) for key, value in found.items()}


@pytest.mark.parametrize(
    "name, change, gates",
    [
        ("codec_encoder", _one_code, {"tokens_unexplained"}),
        ("codec_encoder", _swapped_codebooks, {"tokens_unexplained"}),
        ("codec_encoder", _late, {"relative_l2"}),
        ("codec_encoder", _latents_a_little_off, {"relative_l2"}),
        ("coarse", _scrambled, {"relative_l2", "tokens_unexplained"}),
        ("coarse", _codebook_major, {"relative_l2", "tokens_unexplained"}),
        ("codec_decoder", _quieter, {"max_abs", "snr_db"}),
        ("codec_decoder", _one_click, {"max_abs"}),
        ("codec_decoder", _mixed_items, {"max_abs", "snr_db"}),
        ("c2f", _mixed_items, {"relative_l2", "tokens_unexplained"}),
    ],
)
def test_wrong_outputs_fail_the_gates_made_for_them(
    check: Callable[..., Component], name: str, change: Change, gates: set[str]
) -> None:
    result = check(name, change)
    assert result.verdict == "FAIL" and gates <= failed(result)


def test_an_error_in_one_case_of_many_is_the_one_that_is_named(
    check: Callable[..., Component],
) -> None:
    def only_there(inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        if inputs["codes"].shape == (1, 3, 13):
            found["logits"][0] *= np.float32(1.1)
        return found

    result = check("c2f", only_there, seeds=[0])
    assert gate(result, "relative_l2").worst_case == "c2f/seed=0/batch=1/length=13"
    assert [c.id for c in result.cases if c.verdict == "FAIL"] == [
        "c2f/seed=0/batch=1/length=13"
    ]


@pytest.mark.parametrize(
    "name, weight, factor",
    [
        ("coarse", "transformer.norm.weight", 1.0001),
        ("coarse", "transformer.layers.0.norm_3.weight", 1.001),
        ("coarse", "transformer.layers.0.feed_forward.w_2.weight", 1.001),
        ("coarse", "transformer.layers.0.self_attn.relative_attention_bias.weight", 0.99),
        ("c2f", "embedding.tables.2", 0.999),
        ("codec_encoder", "encoder.block.1.block.0.block.0.inverse", 1.01),
        ("codec_encoder", "encoder.block.0.bias", 0.99),
    ],
)
def test_a_weight_slightly_off_fails_relative_l2(
    check: Callable[..., Component], name: str, weight: str, factor: float
) -> None:
    assert "relative_l2" in failed(check(name, edit=scaled(weight, factor)))


def test_a_decoder_weight_slightly_off_fails_its_gates(
    check: Callable[..., Component],
) -> None:
    result = check("codec_decoder", edit=scaled("decoder.model.3.weight", 1.01))
    assert {"max_abs", "snr_db"} <= failed(result)


def test_a_mask_token_embedded_as_zeros_fails(check: Callable[..., Component]) -> None:
    def no_mask(model: onnx.ModelProto) -> None:
        tensor = weights_of(model, "embedding.tables.0")
        rows = numpy_helper.to_array(tensor).copy()
        rows[-1] = 0
        tensor.CopyFrom(numpy_helper.from_array(rows, tensor.name))

    assert {"relative_l2", "tokens_unexplained"} <= failed(check("coarse", edit=no_mask))


def test_a_signature_that_is_not_the_manifests_fails(check: Callable[..., Component]) -> None:
    result = check("coarse", mismatches=["input codes int32, should be int64"])
    assert failed(result) == {"signature_mismatches"} and result.verdict == "FAIL"
    assert "int32" in gate(result, "signature_mismatches").message


def test_a_gate_of_a_metric_no_one_measures_fails(check: Callable[..., Component]) -> None:
    gates = load_gates()
    rules = gates.kinds["transformer"]
    beauty = {"beauty": rules["relative_l2"]}
    more = gates.model_copy(update={"kinds": {"transformer": rules | beauty}})
    result = check("coarse", gates=more)
    assert failed(result) == {"beauty"}
    assert gate(result, "beauty").value is None


def test_no_gates_and_no_cases_are_no_pass(
    check: Callable[..., Component], models: ModelSet
) -> None:
    gates = load_gates().model_copy(update={"kinds": {"transformer": {}}})
    assert check("coarse", gates=gates).verdict == "FAIL"

    class Without(Reference):
        """An oracle that has no case."""

        def cases(self, *_arguments: Any) -> list[Case]:
            return []

    with pytest.raises(ValueError, match="no case of coarse to run"):
        check("coarse", reference=Without(models))


def test_cases_that_no_process_ran_are_no_pass(
    models: ModelSet, nano_artifacts: Artifacts
) -> None:
    record = record_of(nano_artifacts, "coarse")
    path = nano_artifacts.path(record)
    sides = Sides(record, Reference(models), lambda inputs: compute(path, **inputs))
    small = matrix(seeds=[0], frames=[13], batches=[1])
    whole = check_component(sides, matrix=small, gates=load_gates())
    assert whole.verdict == "PASS"
    lost = check_component(
        sides, matrix=small, gates=load_gates(), run_cases=lambda _cases: []
    )
    assert lost.verdict == "FAIL" and lost.cases == []
    assert "relative_l2" in failed(lost)
