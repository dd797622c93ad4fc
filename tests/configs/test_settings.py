"""Settings: published defaults, and what is out of range is refused by name."""

from __future__ import annotations

import math

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import Mode, generation_settings, vamp_settings


@pytest.mark.parametrize(
    "choices",
    [
        {"steps": 0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"mask_temperature": math.inf},
        {"top_k": 0},
        {"top_p": 1.5},
        {"typical_mass": -0.1},
        {"cfg_guidance": math.nan},
    ],
)
def test_options_out_of_range_are_refused(choices: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(choices))):
        generation_settings(**choices)


def test_an_unknown_option_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(InputError, match=r"'temprature' \(did you mean 'temperature'"):
        generation_settings(temprature=1.0)


def test_fine_codes_are_generated_at_their_own_defaults() -> None:
    asked = generation_settings(steps=7, temperature=0.3, top_p=0.5, mode=Mode.CORRECTED)
    assert vamp_settings(asked).c2f == generation_settings(steps=2, mode=Mode.CORRECTED)


def test_published_defaults_are_those_of_the_configuration() -> None:
    chosen = vamp_settings()
    assert (chosen.coarse_chunk_s, chosen.c2f_chunk_s) == (10.0, 3.0)
    assert (chosen.coarse.steps, chosen.c2f.steps) == (12, 2)
    assert chosen.coarse.mode is chosen.c2f.mode is Mode.REFERENCE


@pytest.mark.parametrize(
    "choices",
    [
        {"batch_size": 0},
        {"feedback_steps": 0},
        {"time_stretch_factor": 0},
        {"coarse_chunk_s": 0.0},
        {"c2f_chunk_s": float("nan")},
        {"chunk_s": 1.0},
    ],
)
def test_variation_options_out_of_range_are_refused(choices: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(choices))):
        vamp_settings(**choices)
