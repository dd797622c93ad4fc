"""Comparing generations: a tie excuses what follows it, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.support.generations import GENERATION, both_sides
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.subjects.case import Computed


def compared(
    artifacts: Artifacts, reference: Computed, export: Mapping[str, np.ndarray]
) -> tuple[dict[str, float], str, int]:
    record = GENERATION.whole(artifacts.manifest)
    assert record is not None
    found = GENERATION.compare(record, reference, export, load_gates().ties)
    assert found.tokens is not None
    return found.metrics, found.message, found.tokens.ambiguous


def test_a_token_that_differs_without_a_tie_is_an_error(
    generation_artifacts: Artifacts, models: ModelSet
) -> None:
    reference, export = both_sides(generation_artifacts, models)
    where = tuple(np.argwhere(export["sampled"] >= 0)[100])
    changed = {name: array.copy() for name, array in export.items()}
    changed["sampled"][where] ^= 1
    metrics, message, ambiguous = compared(generation_artifacts, reference, changed)
    assert metrics["tokens_unexplained"] == 1 and ambiguous == 0
    step, item, book, frame = where
    assert f"step {step + 1} of" in message
    assert f"item {item}, codebook {book}, frame {frame}: another code drawn" in message


def test_what_follows_a_tie_is_laid_to_it(
    generation_artifacts: Artifacts, models: ModelSet
) -> None:
    reference, export = both_sides(generation_artifacts, models)
    where = tuple(np.argwhere(export["sampled"] >= 0)[100])
    assert reference.margins is not None
    margins = reference.margins.copy()
    margins[0][where] = 1e-9
    changed = {name: array.copy() for name, array in export.items()}
    changed["sampled"][where] ^= 1
    changed["sampled"][where[0] + 1 :] += 1
    changed["tokens"] = changed["tokens"] ^ 1
    doubtful = replace(reference, margins=margins)
    metrics, message, _ = compared(generation_artifacts, doubtful, changed)
    assert metrics["tokens_unexplained"] > 1 and "an error" in message  # as bad by its score
    metrics, message, ambiguous = compared(
        generation_artifacts, replace(doubtful, decisions=()), changed
    )
    assert metrics["tokens_unexplained"] == 0 and ambiguous == 1
    assert "a tie of the reference" in message
    assert "snr_db" not in metrics  # no item is left whose audio could be compared


def test_audio_of_equal_tokens_must_be_equal(
    generation_artifacts: Artifacts, models: ModelSet
) -> None:
    reference, export = both_sides(generation_artifacts, models)
    quieter = {**export, "audio": export["audio"] * np.float32(0.9)}
    metrics, _, _ = compared(generation_artifacts, reference, quieter)
    assert metrics["tokens_unexplained"] == 0
    assert metrics["snr_db"] == pytest.approx(20, abs=0.01)
    assert metrics["mel_distance"] > 0.01


def test_a_result_put_together_wrongly_is_an_error(
    generation_artifacts: Artifacts, models: ModelSet
) -> None:
    reference, export = both_sides(generation_artifacts, models)
    metrics, _, _ = compared(
        generation_artifacts,
        reference,
        {**export, "tokens": np.roll(export["tokens"], 1, axis=-1)},
    )
    assert metrics["tokens_unexplained"] > 0
