"""Settings: published defaults, and what is out of range is refused by name."""

from __future__ import annotations

import math

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import (
    GenerationSettings,
    Mode,
    beat_settings,
    generation_settings,
    mask_settings,
    other_options,
    published_options,
    vamp_settings,
)


@pytest.mark.parametrize(
    "choices",
    [
        {"sampling_steps": 0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"mask_temperature": math.inf},
        {"top_k": 0},
        {"top_p": 1.5},
        {"typical_mass": -0.1},
        {"cfg_guidance": math.nan},
        {"temperature": 1e39},
        {"mask_temperature": 1e300},
        {"cfg_guidance": -1e300},
    ],
)
def test_options_out_of_range_are_refused(choices: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(choices))):
        generation_settings(**choices)


def test_published_names_are_taken_beside_ours_and_told() -> None:
    assert generation_settings(sampling_steps=5) == generation_settings(steps=5)
    assert mask_settings(ncc=1).n_conditioning_codebooks == 1
    chosen = vamp_settings(coarse_chunk_size_s=2.0, coarse2fine_chunk_size_s=1.0)
    assert (chosen.coarse_chunk_s, chosen.c2f_chunk_s) == (2.0, 1.0)
    assert "sampling_steps" in published_options(GenerationSettings)
    with pytest.raises(InputError, match="sampling_steps and steps are one option"):
        generation_settings(sampling_steps=5, steps=5)
    with pytest.raises(InputError, match="sampling_steps = 0 is outside"):
        generation_settings(steps=0)


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
        {"coarse2fine_chunk_size_s": float("nan")},
        {"chunk_s": 1.0},
    ],
)
def test_variation_options_out_of_range_are_refused(choices: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(choices))):
        vamp_settings(**choices)


@pytest.mark.parametrize("size", [2**31, 10**21, 10**400])
def test_a_count_that_no_graph_takes_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=r"periodic_prompt = .* is outside 0 to 2147483647"):
        mask_settings(periodic_prompt=size)


@pytest.mark.parametrize("seconds", [61.0, 1e300])
def test_a_beat_that_is_longer_than_any_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match=r"after_beat_s = .* is outside 0 to 60"):
        beat_settings(after_beat_s=seconds)


def test_options_that_differ_have_their_published_names() -> None:
    own = vamp_settings(coarse_chunk_s=5, feedback_steps=2)
    assert other_options(own, vamp_settings()) == {
        "feedback_steps": 2,
        "coarse_chunk_size_s": 5,
    }
    assert other_options(own, own) == {}
