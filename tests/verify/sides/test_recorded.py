"""Recorded sets as an oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import record_of
from tests.support.golden_sets import small_set
from tests.support.records import component
from tests.support.sets import GOLDEN, GoldenSet, assert_within
from tests.support.upstream_packages import TOLERANCE
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.config import load_config
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.recorded import RecordedReference, RecordedSet


def test_a_recorded_set_knows_margins_and_its_own_cases_only(golden_a: GoldenSet) -> None:
    oracle = RecordedReference(RecordedSet(GOLDEN / "a"), golden_a.models)
    record = component("codec_encoder")
    matrix = load_config(None).verify
    ours = Reference(golden_a.models, oracle.inputs)
    cases = oracle.cases(record, matrix)
    assert len(cases) == 5
    for case in cases:
        found, expected = oracle.run(record, case), ours.run(record, case)
        assert_within(found.margins, expected.margins, TOLERANCE)
    chosen = RecordedReference(RecordedSet(GOLDEN / "a"), golden_a.models, seeds=[3, 1])
    assert [case.seed for case in chosen.cases(record, matrix)] == [3, 1]
    absent = RecordedReference(RecordedSet(GOLDEN / "a"), golden_a.models, seeds=[1, 7])
    with pytest.raises(InputError, match="has no case 7 of codec_encoder; seeds there are 0,"):
        absent.cases(record, matrix)
    with pytest.raises(InputError, match="no cases of sampler"):
        oracle.cases(component("sampler"), matrix)
    with pytest.raises(InputError, match="encode/9/codes is missing"):
        oracle.run(record, replace(cases[0], seed=9))


@pytest.mark.parametrize(
    ("key", "array", "says"),
    [
        ("decode/0/audio", np.zeros(3, np.float32), "audio is float32 [3]"),
        ("decode/0/codes", np.zeros((1, 5, 9)), "codes is float64 [1, 5, 9]"),
        ("decode/x/codes", np.zeros((1, 5, 9), np.int64), "decode/x has no number"),
    ],
)
def test_a_recorded_array_that_does_not_fit_is_refused(
    golden_a: GoldenSet,
    exported_a: Path,
    tmp_path: Path,
    key: str,
    array: np.ndarray,
    says: str,
) -> None:
    folder = small_set(
        tmp_path / "set",
        keep=("decode/0",),
        change=lambda arrays, _header: arrays.update({key: array}),
    )
    record = record_of(open_artifacts(exported_a), "codec_decoder")
    oracle = RecordedReference(RecordedSet(folder), golden_a.models)
    with pytest.raises(InputError) as caught:
        oracle.run(record, oracle.recorded_cases(record)[0])
    assert says in str(caught.value)
