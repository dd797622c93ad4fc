"""How near half precision is to overflowing, and that a planted overflow is seen and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.edited import edited, replanted
from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.pipeline.version.session import Session
from vampnet_onnx.verify.gates.overflow import overflow
from vampnet_onnx.verify.self_test.run import chosen_defects
from vampnet_onnx.verify.subjects.case import Arrays
from vampnet_onnx.verify.subjects.registry import subject_of

LIMIT = load_gates().for_component("coarse", "fp16")["overflow"].limit
ATTENTION = "transformer.layers.1.self_attn"


@pytest.fixture
def sound(forms_a: Path) -> Path:
    return forms_a / "coarse.fp16.onnx"


@pytest.fixture
def inputs(forms_a: Path) -> Arrays:
    record = record_of(open_artifacts(forms_a), "coarse.fp16")
    subject = subject_of(record)
    return subject.inputs(record, subject.one_case(record, seed=0, batch=2, frames=29))


def test_a_sound_file_is_far_from_it(sound: Path, inputs: Arrays) -> None:
    assert 0 < overflow(sound, [inputs]).value < LIMIT / 10


def test_the_defect_overflows_and_is_named(
    sound: Path, inputs: Arrays, tmp_path: Path
) -> None:
    (defect,) = chosen_defects(["ValuesOverflow"])
    wrong = replanted(sound, defect.plant, tmp_path)  # type: ignore[attr-defined]
    found = overflow(wrong, [inputs])
    assert found.value > 1 and found.modules == (f"{ATTENTION}.w_vs",)
    assert found.message.startswith(f"{ATTENTION}.w_vs/MatMul_0 comes to ")


def test_an_overflow_that_the_output_does_not_show_is_seen(
    sound: Path, inputs: Arrays, tmp_path: Path
) -> None:
    """Scores of minus infinity are probabilities of zero."""
    name = "transformer.layers.0.self_attn.relative_attention_bias.weight"

    def far(table: np.ndarray) -> np.ndarray:
        table[0] = -np.inf
        return table

    wrong = edited(sound, name, far, tmp_path)
    assert np.isfinite(Session(wrong).run(inputs)["logits"]).all()
    found = overflow(wrong, [inputs])
    assert found.value == np.inf and not found.value <= LIMIT
    assert found.message.startswith(name)


def test_the_largest_of_all_inputs_counts(sound: Path, inputs: Arrays) -> None:
    alone = overflow(sound, [inputs]).value
    other = {"codes": np.zeros_like(inputs["codes"])}
    assert overflow(sound, [other, inputs]).value >= alone
    assert overflow(sound, [other]).value != alone
