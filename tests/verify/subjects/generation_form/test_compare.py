"""What is heard of a form: the gates alone tell a wrong layer and a collapse, either way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.edited import replanted, scaled
from tests.support.heard import Heard
from vampnet_onnx.verify.self_test.run import chosen_defects
from vampnet_onnx.verify.subjects.registry import subject_of


def test_a_sound_form_holds_every_gate_and_is_told_in_words(heard: Heard, int8: Path) -> None:
    found = heard.by(int8)
    assert heard.broken(found) == set()
    assert 0.5 < found.metrics["token_accuracy"] < 1
    assert 0 < found.metrics["mel_share"] < 0.5
    plausible, varied = found.told[1], found.told[2]
    assert found.told[0].startswith("32 variations of music were made by this form")
    assert f"coarse {found.metrics['coarse_likelihood_mean']:+.3f} ± " in plausible
    assert "more repetitive" in plausible and "c2f" in varied


@pytest.mark.parametrize(
    "defect, broken",
    [
        ("ScalesOfALayerDoubled", "likelihood_shift entropy_shift mel_share"),
        (
            "CollapseToTheBestToken",
            "likelihood_shift entropy_shift usage_lost mel_share",
        ),
    ],
)
def test_a_planted_defect_is_caught_by_what_is_heard_alone(
    heard: Heard, int8: Path, tmp_path: Path, defect: str, broken: str
) -> None:
    (planted,) = chosen_defects([defect])
    found = heard.by(replanted(int8, planted.plant, tmp_path))  # type: ignore[attr-defined]
    assert heard.broken(found) == set(broken.split())
    # A collapse is more plausible than the reference's own: one side alone would pass it.
    collapsed = defect == "CollapseToTheBestToken"
    assert (found.metrics["coarse_likelihood_mean"] > 0.3) == collapsed


def test_five_percent_in_the_last_layer_can_be_heard(
    heard: Heard, int8: Path, tmp_path: Path
) -> None:
    name = "classifier.layers.0.weight_scales"
    found = heard.by(scaled(int8, name, 1.05, tmp_path))
    assert "likelihood_shift" in heard.broken(found)


def test_two_seeds_of_the_reference_are_as_far_apart_as_they_are(heard: Heard) -> None:
    """What another seed gives is as plausible, varies as much, and sounds otherwise."""
    outputs = heard.reference.outputs
    swapped = {n: a.reshape(-1, 2, *a.shape[1:])[:, ::-1] for n, a in outputs.items()}
    found = heard.compare({n: swapped[n].reshape(a.shape) for n, a in outputs.items()})
    share = found.metrics["mel_share"]
    assert share > 1 and "mel_share" in heard.broken(found)
    for name in ("coarse", "c2f"):
        assert found.metrics[f"{name}_likelihood_mean"] == pytest.approx(0, abs=0.05)


def test_the_same_again_is_no_difference(heard: Heard) -> None:
    found = heard.compare(heard.reference.outputs)
    assert {found.metrics[n] for n in ("likelihood_shift", "usage_lost", "mel_share")} == {0}
    assert found.metrics["coarse_likelihood"] > found.metrics["c2f_likelihood"] > -4


def test_what_is_no_code_or_no_number_fails(heard: Heard) -> None:
    outputs = heard.reference.outputs
    tokens = outputs["tokens"].copy()
    tokens[0, 0, 0] = heard.record.dim("codebook_size")
    assert "likelihood_shift" in heard.broken(heard.compare({**outputs, "tokens": tokens}))
    audio = outputs["audio"].copy()
    audio[3, 0, 5] = np.nan
    found = heard.compare({**outputs, "audio": audio})
    assert heard.broken(found) == {"mel_share", "nonfinite"} and found.message


def test_every_limit_refuses_what_the_subject_says_is_wrong(heard: Heard) -> None:
    (wrong,) = subject_of(heard.record).wrong(heard.reference.outputs)
    assert heard.broken(heard.compare(wrong)) == {
        "likelihood_shift",
        "entropy_shift",
        "usage_lost",
        "mel_share",
    }
