"""The harness: sound exports pass, and whatever is planted fails the right gate.

Defects that need an export of their own are in ``test_localise.py``; here an artifact's
outputs, weights or signature are changed and one component runs over a small matrix.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from tests.support.exports import record_of, session
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates, load_gates
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Component
from vampnet_onnx.reports.schema import Gate
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.gates.rounding import (
    Rounding,
    measure_rounding,
    measured_ties,
    widened_limit,
)
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Computed
from vampnet_onnx.verify.subjects.registry import subject_of

Outputs = dict[str, np.ndarray]
Change = Callable[[Mapping[str, np.ndarray], Outputs], Outputs]


@pytest.fixture(scope="module")
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


def failed(result: Component) -> set[str]:
    return {gate.name for gate in result.gates if gate.verdict == "FAIL"}


def gate(result: Component, name: str) -> Gate:
    return next(g for g in result.gates if g.name == name)


def weights_of(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(i for i in model.graph.initializer if i.name == name)


def scaled(name: str, factor: float) -> Callable[[onnx.ModelProto], None]:
    def edit(model: onnx.ModelProto) -> None:
        tensor = weights_of(model, name)
        array = numpy_helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), name))

    return edit


COMPONENTS = ["codec_encoder", "codec_decoder", "coarse", "coarse.latents", "c2f"]


# Sound exports.


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_sound_export_passes_every_gate(check: Callable[..., Component], name: str) -> None:
    result = check(name)
    assert result.verdict == "PASS" and failed(result) == set()
    assert all(g.value is not None and math.isfinite(g.limit) for g in result.gates)
    assert {case.verdict for case in result.cases} <= {"PASS", "AMBIGUOUS"}


def test_metrics_of_the_issue_are_all_reported(check: Callable[..., Component]) -> None:
    common = {
        "pearson",
        "max_abs",
        "mean_abs",
        "relative_l2",
        "snr_db",
        "nonfinite",
        "nonfinite_reference",
        "nonfinite_export",
        "nonfinite_disagreement",
    }
    tokens = {"token_accuracy", "tokens_unexplained"}
    assert common <= set(check("codec_decoder").metrics)
    encoder, coarse = check("codec_encoder"), check("coarse")
    assert common | tokens <= set(encoder.metrics)
    assert common | tokens | {"kl_nats"} <= set(coarse.metrics)
    assert encoder.accuracy_per_codebook == [1, 1, 1]
    assert coarse.accuracy_per_codebook == [1, 1]
    assert len(check("c2f").accuracy_per_codebook) == 1


def test_heat_map_and_scatter_show_the_worst_case(check: Callable[..., Component]) -> None:
    def spoil(inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        if inputs["codes"].shape == (3, 2, 13):
            found["logits"][1, 4, 7] += 5
        return found

    result = check("coarse", spoil, seeds=[0])
    assert result.heat_map is not None and result.scatter is not None
    assert result.heat_map.case == result.scatter.case == "coarse/seed=0/batch=3/length=13"
    # Position 7 is frame 3, codebook 1.
    values = np.array(result.heat_map.values)
    assert values.shape == (2, 13) and np.unravel_index(values.argmax(), (2, 13)) == (1, 3)
    assert values.max() == pytest.approx(5, rel=1e-5)
    gap = np.array(result.scatter.export) - np.array(result.scatter.reference)
    assert np.abs(gap).max() == pytest.approx(5, rel=1e-5)


# NaN and infinity.


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


# Wrong outputs.


@pytest.mark.parametrize("name", COMPONENTS)
def test_outputs_that_ignore_the_input_fail(
    check: Callable[..., Component], name: str
) -> None:
    def constant(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        return {key: np.ones_like(value) for key, value in found.items()}

    assert "input_sensitivity" in failed(check(name, constant))


def test_an_output_that_ignores_the_input_fails_even_if_another_does_not(
    check: Callable[..., Component],
) -> None:
    def constant_codes(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        return {**found, "codes": np.ones_like(found["codes"])}

    assert "input_sensitivity" in failed(check("codec_encoder", constant_codes))


def test_sensitivity_of_nan_is_nan_whichever_output_it_is_in(
    check: Callable[..., Component],
) -> None:
    for output in ("codes", "latents"):

        def spoil(_i: Mapping[str, np.ndarray], found: Outputs, o: str = output) -> Outputs:
            return {**found, o: found[o] * np.float32(math.nan)}

        result = check("codec_encoder", spoil, seeds=[0], frames=[29], batches=[1])
        assert "input_sensitivity" in failed(result), output


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


# Wrong weights, small enough to be missed by a careless limit.


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


# Wrong signatures.


def _half(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {key: value.astype(np.float16) for key, value in found.items()}


def _int32(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {**found, "codes": found["codes"].astype(np.int32)}


def _renamed(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {"output": next(iter(found.values()))}


def _frozen(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    """Crop or pad to the traced length."""
    return {key: np.resize(value, (*value.shape[:-1], 13)) for key, value in found.items()}


def _first_item(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {key: value[:1] for key, value in found.items()}


def _with_mask_row(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
    return {key: np.pad(value, ((0, 0), (0, 1), (0, 0))) for key, value in found.items()}


@pytest.mark.parametrize(
    "name, change, words",
    [
        ("coarse", _half, "float16"),
        ("codec_encoder", _int32, "int32"),
        ("codec_decoder", _renamed, "audio is missing"),
        ("coarse", _frozen, "13"),
        ("codec_encoder", _frozen, "13"),
        ("codec_decoder", _first_item, "(1, 1,"),
        ("coarse", _with_mask_row, "12"),
    ],
)
def test_outputs_of_another_name_type_or_shape_fail_every_measured_gate(
    check: Callable[..., Component], name: str, change: Change, words: str
) -> None:
    result = check(name, change)
    assert result.verdict == "FAIL"
    main = gate(result, "max_abs" if name == "codec_decoder" else "relative_l2")
    assert main.verdict == "FAIL"
    assert "could not be compared" in main.message and words in main.message


def test_an_artifact_that_fails_to_run_fails_every_gate(
    check: Callable[..., Component],
) -> None:
    def crash(_inputs: Mapping[str, np.ndarray], _found: Outputs) -> Outputs:
        raise RuntimeError("no such kernel")

    result = check("coarse", crash)
    assert {g.name for g in result.gates} - {"signature_mismatches"} <= failed(result)
    assert "no such kernel" in gate(result, "relative_l2").message
    assert result.heat_map is None and result.scatter is None


def test_a_file_whose_output_is_cast_fails(check: Callable[..., Component]) -> None:
    def cast(model: onnx.ModelProto) -> None:
        output = model.graph.output[0]
        last = next(n for n in model.graph.node if output.name in n.output)
        last.output[0] = "before"
        model.graph.node.append(
            helper.make_node("Cast", ["before"], [output.name], to=onnx.TensorProto.DOUBLE)
        )
        output.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE

    result = check("coarse", edit=cast)
    assert "float64" in gate(result, "relative_l2").message


def test_a_signature_that_is_not_the_manifests_fails(check: Callable[..., Component]) -> None:
    result = check("coarse", mismatches=["input codes int32, should be int64"])
    assert failed(result) == {"signature_mismatches"} and result.verdict == "FAIL"
    assert "int32" in gate(result, "signature_mismatches").message


# Gates that were never measured.


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


# Ties.


class _Doubtful(Reference):
    """A reference that was in doubt about every token of one frame in `every`."""

    every = 5

    def run(self, *arguments: Any) -> Computed:
        found = super().run(*arguments)
        assert found.margins is not None
        margins = found.margins.copy()
        margins[..., :: self.every] = 0
        return dataclasses.replace(found, margins=margins)

    @property
    def in_float64(self) -> Any:
        return type(self)(super().in_float64._models)


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
    few = check("codec_encoder", flip_first, reference=_Doubtful(models), **sizes)
    assert few.verdict == "PASS"
    assert gate(few, "tokens_ambiguous_share").verdict == "AMBIGUOUS"
    assert sum(case.ambiguous for case in few.cases) == 2
    many = check("codec_encoder", flip_all, reference=_Doubtful(models), **sizes)
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

    doubtful = _Doubtful(models)
    sizes = {"seeds": [0], "frames": [200], "batches": [3]}
    excused = check("codec_encoder", another_residual, reference=doubtful, **sizes)
    assert "relative_l2" not in failed(excused)
    held = check("codec_encoder", same_residual, reference=doubtful, **sizes)
    assert "relative_l2" in failed(held)


# The reference's own rounding.


def test_rounding_is_measured_on_the_reference_alone(
    models: ModelSet, nano_artifacts: Artifacts
) -> None:
    record = record_of(nano_artifacts, "coarse")
    reference = Reference(models)
    case = reference.cases(record, matrix())[0]
    single, double = reference.run(record, case), reference.in_float64.run(record, case)
    assert double.outputs["logits"].dtype == np.float64
    noise = measure_rounding(record, single, double)
    assert 0 < noise.metrics["relative_l2"] < 2e-6 and noise.margin < 1e-5
    assert next(models.transformers["coarse"].parameters()).dtype == torch.float32


@pytest.mark.parametrize("factor", [1.01, 1e3, -1])
def test_a_defect_of_the_export_cannot_widen_its_own_limit(
    check: Callable[..., Component], factor: float
) -> None:
    def scale(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        return {"logits": found["logits"] * np.float32(factor)}

    result = check("coarse", scale)
    assert "relative_l2" in failed(result)
    assert (
        gate(result, "relative_l2").limit
        == load_gates().kinds["transformer"]["relative_l2"].limit
    )


@pytest.mark.parametrize("own", [0.0, 1e-7, 1e-5, 1e-3, 1.0, math.inf, math.nan])
def test_limits_never_narrow_and_never_widen_beyond_the_cap(own: float) -> None:
    gates = load_gates()
    cap = gates.noise.cap
    noise = Rounding(
        {"relative_l2": own, "snr_db": -20 * math.log10(own) if own else math.inf},
        margin=own,
        scale=1.0,
    )
    relative = gates.kinds["transformer"]["relative_l2"]
    limit = widened_limit("relative_l2", relative, noise, gates.noise)
    assert relative.limit <= limit <= cap * relative.limit * (1 + 1e-12)
    snr = gates.kinds["codec_decoder"]["snr_db"]
    lowest = snr.limit - 20 * math.log10(cap) - 1e-9
    assert lowest <= widened_limit("snr_db", snr, noise, gates.noise) <= snr.limit
    for name in ("tokens_unexplained", "nonfinite", "tokens_ambiguous_share"):
        rule = gates.kinds["transformer"][name]
        assert widened_limit(name, rule, noise, gates.noise) == rule.limit
    ties = measured_ties(gates.ties, noise, gates.noise)
    for measured, stated in (
        (ties.codes_margin, gates.ties.codes_margin),
        (ties.logits_margin, gates.ties.logits_margin),
    ):
        assert not measured > cap * stated * (1 + 1e-12)
        assert not measured > max(gates.noise.factor * own, 1.2e-7)


def test_a_reference_with_rounding_beyond_the_limit_makes_its_gates_ambiguous(
    check: Callable[..., Component], models: ModelSet
) -> None:
    class Coarse(Reference):
        """Its float32 outputs are off by 2e-5, its float64 ones are not."""

        rounding = 2e-5

        def run(self, *arguments: Any) -> Computed:
            found = super().run(*arguments)
            logits = found.outputs["logits"]
            if logits.dtype == np.float32:
                logits = logits * np.float32(1 + self.rounding)
            return dataclasses.replace(found, outputs={"logits": logits})

    class Hopeless(Coarse):
        rounding = 2e-3

    widened = check("coarse", reference=Coarse(models))
    assert widened.verdict == "PASS"
    assert gate(widened, "relative_l2").verdict == "AMBIGUOUS"
    assert "float32 rounding" in gate(widened, "relative_l2").message
    assert "relative_l2" in failed(check("coarse", reference=Hopeless(models)))


def test_comparison_is_per_position_and_never_broadcast(
    models: ModelSet, nano_artifacts: Artifacts
) -> None:
    record = record_of(nano_artifacts, "c2f")
    reference = Reference(models)
    case = reference.cases(record, matrix(frames=[13], batches=[3]))[0]
    expected = reference.run(record, case)
    wrong = {"logits": expected.outputs["logits"].copy()}
    wrong["logits"][2, 3, 11] += 1
    found = subject_of(record).compare(record, expected, wrong, load_gates().ties)
    assert found.metrics["max_abs"] == pytest.approx(1, rel=1e-6)
    assert found.error.shape == (1, 13) and int(found.error.argmax()) == 11
    assert np.count_nonzero(found.error > 1e-6) == 1
