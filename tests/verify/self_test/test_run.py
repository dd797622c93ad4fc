"""Defects put through the gates, and sound exports."""

from __future__ import annotations

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.self_test.run import NO_MODULE, chosen_defects, run_defect, run_sound


@pytest.mark.parametrize(
    ("name", "gates"),
    [
        ("NormEpsilonTenfold", "relative_l2"),
        ("SoftmaxOverQueries", "relative_l2 tokens_unexplained"),
        ("AxisNamedWrong", "signature_mismatches"),
    ],
)
def test_a_planted_defect_is_caught_and_its_module_named(
    tiny: ModelSet, name: str, gates: str
) -> None:
    (defect,) = chosen_defects([name])
    trial = run_defect(tiny, defect)
    assert trial.caught and trial.gates == gates.split()
    assert trial.right and trial.named == (defect.culprit or NO_MODULE)


def test_sound_exports_raise_no_alarm_over_many_seeds(tiny: ModelSet) -> None:
    runs, alarms = run_sound(tiny, "c2f", runs=100)
    assert runs >= 100
    assert alarms == []


def test_an_unknown_defect_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"no defect 'LayerDroped' \(did you mean 'LayerDropped'\?\)"
    ):
        chosen_defects(["LayerDroped"])
