"""One case: outputs that cannot be compared fail it, and limits mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.support.checked import Change, Outputs, failed, gate
from vampnet_onnx.configs.config import GateRule, load_gates
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.gates.case import HIGHER_IS_BETTER, rank, satisfies


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


@pytest.mark.parametrize("component", ["codec_encoder", "codec_decoder", "coarse", "c2f"])
@pytest.mark.parametrize("value", [math.nan])
def test_nan_passes_no_shipped_gate(component: str, value: float) -> None:
    rules = load_gates().for_component(component)
    assert rules
    for name, rule in rules.items():
        assert not satisfies(value, rule, rule.limit), name
        assert rank(name, value) == math.inf


@pytest.mark.parametrize("component", ["codec_encoder", "codec_decoder", "coarse", "c2f"])
def test_every_gate_points_the_way_its_metric_does(component: str) -> None:
    rules = load_gates().for_component(component)
    assert rules
    for name, rule in rules.items():
        assert (rule.direction == "at least") == (name in HIGHER_IS_BETTER), name


def test_a_limit_itself_is_allowed_and_the_next_number_is_not() -> None:
    most = GateRule(limit=1.0, direction="at most", unit="", reason="")
    least = GateRule(limit=1.0, direction="at least", unit="", reason="")
    above, below = np.nextafter(1.0, 2), np.nextafter(1.0, 0)
    assert satisfies(1.0, most, 1.0) and not satisfies(above, most, 1.0)
    assert satisfies(1.0, least, 1.0) and not satisfies(below, least, 1.0)
