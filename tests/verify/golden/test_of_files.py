"""Exported files give what the published packages recorded."""

from __future__ import annotations

import pytest

from tests.support.sets import GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.verify.golden.check import check_set
from vampnet_onnx.verify.golden.of_files import PipelineRun
from vampnet_onnx.verify.sides.recorded import RecordedSet


def test_exported_files_give_every_recorded_token_and_the_audio(
    golden: GoldenSet, golden_artifacts: Artifacts
) -> None:
    run = PipelineRun(RecordedSet(golden.folder), golden_artifacts)
    found = check_set(run)
    assert [f for f in found if f.verdict == "FAIL"] == []
    cases = {(f.kind, f.quantity): f.cases for f in found if f.verdict == "PASS"}
    assert cases["generate_coarse", "tokens"] == 20
    assert cases["generate_c2f", "tokens"] == 4
    assert cases["vamp", "tokens"] == cases["vamp", "output_audio"] == 7
    assert {kind for kind, _ in cases} == set(run.kinds)


def test_artifacts_of_other_checkpoints_are_not_held_to_a_set(
    golden: GoldenSet, nano_artifacts: Artifacts
) -> None:
    with pytest.raises(InputError, match=r"was not made from .*c2f\.pth"):
        PipelineRun(RecordedSet(golden.folder), nano_artifacts)
