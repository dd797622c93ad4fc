"""The transformers as subjects: their cases, and their comparison."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.exports import record_of
from tests.support.records import make_inputs, matrix, record
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of


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


@pytest.mark.parametrize("form", ["", "int8", "bf16"])
def test_of_a_form_no_token_is_unexplained(
    models: ModelSet, nano_artifacts: Artifacts, form: str
) -> None:
    """Rounding explains them; how many there may be is what its gates say."""
    record = record_of(nano_artifacts, "c2f").model_copy(update={"variant": form})
    reference = Reference(models)
    case = reference.cases(record, matrix(frames=[13], batches=[3]))[0]
    expected = reference.run(record, case)
    other = {"logits": -expected.outputs["logits"]}
    found = subject_of(record).compare(record, expected, other, load_gates().ties)
    assert found.metrics["token_accuracy"] < 0.5
    assert ("tokens_unexplained" in found.metrics) == (form == "")
    assert ("first unexplained token" in found.message) == (form == "")


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_every_share_of_masking_is_tried_and_every_code_comes_up(name: str) -> None:
    seen = set()
    shares = []
    for seed in range(4):
        codes = make_inputs(Case(name, seed, 3, 200), record(name))["codes"]
        seen |= set(np.unique(codes).tolist())
        shares.append(float((codes[:, -1] == 11).mean()))
    assert seen == set(range(12))
    assert shares == sorted(shares) and shares[0] < 0.4 and shares[-1] == 1


def test_conditioning_codebooks_are_hardly_ever_masked() -> None:
    codes = make_inputs(Case("c2f", 3, 3, 200), record("c2f"))["codes"]
    assert 0 < (codes[:, :2] == 11).mean() < 0.15
    assert (codes[:, 2] == 11).all()
