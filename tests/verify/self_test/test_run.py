"""Defects put through the gates, and sound exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.export.components.registry import COMPONENTS
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.verify.self_test import run
from vampnet_onnx.verify.self_test.defects import all_defects
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


def test_scales_of_a_form_that_no_distribution_shows_are_caught_by_its_audit(
    tiny: ModelSet,
) -> None:
    (defect,) = chosen_defects(["ScalesFivePercentOff"])
    trial = run_defect(tiny, defect)
    assert trial.gates == ["audit"] and trial.named == defect.culprit


@pytest.mark.parametrize("name", ["RowOfHalfPrecision", "AllEpsilonsTooSmall", "RowTooLoud"])
def test_what_outputs_hide_is_caught_by_both_gates_of_the_file(
    tiny: ModelSet, name: str
) -> None:
    (defect,) = chosen_defects([name])
    trial = run_defect(tiny, defect)
    assert trial.caught and {"modules", "audit"} <= set(trial.gates)
    assert trial.right, trial.named


def test_noise_that_begins_anew_is_caught_by_cases_and_named_by_the_audit(
    tiny: ModelSet,
) -> None:
    (defect,) = chosen_defects(["StreamRestarted"])
    trial = run_defect(tiny, defect)
    assert {"tokens_unexplained", "facts_differing", "audit"} <= set(trial.gates)
    assert trial.right and trial.named == "loop"


@pytest.mark.parametrize(("component", "least"), [("c2f", 100), ("coarse.fp16", 4)])
def test_sound_exports_raise_no_alarm_over_many_seeds(
    tiny: ModelSet, component: str, least: int
) -> None:
    runs, alarms = run_sound(tiny, component, runs=least)
    assert runs >= least
    assert alarms == []


def test_an_unknown_defect_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"no defect 'LayerDroped' \(did you mean 'LayerDropped'\?\)"
    ):
        chosen_defects(["LayerDroped"])


def test_an_interrupt_keeps_the_trials_made_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def progress(_name: str, done: int, _total: int) -> None:
        if done == 1:
            raise Interrupted

    monkeypatch.setattr(run, "cores", lambda: 1)
    write_random_set(tmp_path, like="tiny", seed=0)
    refused = chosen_defects(["MaskTokenSampleable"] * 8)  # by the exporter, so soon done
    found = run.run_self_test(tmp_path, refused, runs=1, progress=progress)
    assert found.trials and all(trial.caught for trial in found.trials)
    assert found.unfinished and found.sound_runs == 0
    assert len(found.trials) + found.unfinished == 8 + len(
        {*COMPONENTS, *(defect.component for defect in all_defects())}
    )
