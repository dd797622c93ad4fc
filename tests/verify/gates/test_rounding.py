"""The reference's own rounding: measured on it alone, and widening limits up to a cap."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.checked import Outputs, failed, gate
from tests.support.exports import record_of
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.gates.rounding import (
    Rounding,
    measure_rounding,
    measured_ties,
    widened_limit,
)
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.subjects.case import Computed


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
