"""The self-test: planted defects are caught and named, sound exports raise no alarm."""

from __future__ import annotations

import pytest

from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.self_test.run import chosen_defects, run_defect, run_sound

# One of each kind: a module lost, a module wrong, a weight wrong, a graph edited, a graph that
# does not run, an axis renamed, an export refused.
PLANTED_HERE = [
    "MissingFeedForwardNorm",
    "NormEpsilonTenfold",
    "WeightOnePercentOff",
    "SoftmaxOverQueries",
    "NaNAtOnePosition",
    "AxisNamedWrong",
    "MaskTokenSampleable",
]


@pytest.mark.parametrize("name", PLANTED_HERE)
def test_a_planted_defect_is_caught_and_its_module_named(tiny: ModelSet, name: str) -> None:
    trial = run_defect(tiny, *chosen_defects([name]))
    assert trial.caught, f"{name} slipped through the gates"
    assert trial.right, f"{name} was planted in {trial.culprit}, but {trial.named} was named"


def test_sound_exports_raise_no_alarm_over_many_seeds(tiny: ModelSet) -> None:
    runs, alarms = run_sound(tiny, "c2f", runs=100)
    assert runs >= 100
    assert alarms == []


def test_a_layer_left_out_is_named_whatever_the_stages(
    tiny: ModelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vampnet_onnx.verify.localisation.torch_source.STAGE_BYTES", 100_000)
    trial = run_defect(tiny, *chosen_defects(["LayerDropped"]))
    assert trial.caught and trial.right, trial.named
