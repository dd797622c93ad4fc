"""The mask generator's graph makes the masks of `models.behaviour.masks`, as published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.built_components import (
    DIMS,
    Run,
    cached_run,
    failed_gates,
    mask_inputs,
    run_component,
    verified,
)
from tests.support.recorded_cases import DETERMINISTIC_MASKS, SEEDED_MASKS, parameters
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.settings import mask_settings
from vampnet_onnx.export.components import mask_generator as exported
from vampnet_onnx.export.components.mask_generator import mask_generator
from vampnet_onnx.models.behaviour import masks
from vampnet_onnx.models.behaviour.interface import stretch
from vampnet_onnx.models.behaviour.mask_plan import (
    MaskNoise,
    MaskPlan,
    build_mask,
    compose_mask,
    draw_mask_noise,
    plan_mask,
)

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 50))


def generated(codes: torch.Tensor, plan: MaskPlan, noise: MaskNoise) -> np.ndarray:
    return cached_run(mask_generator, DIMS)(mask_inputs(codes, plan, noise))["mask"]


def no_noise(codes: torch.Tensor) -> MaskNoise:
    none = torch.zeros(0, dtype=torch.int64)
    return MaskNoise(torch.zeros(codes.shape), 0, none, torch.zeros(0, 0))


def codes_of(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int64)


NOTHING = MaskPlan(rand_mask_intensity=0.0)
PLANS = {
    "inpaint_5_7": MaskPlan(prefix_frames=5, suffix_frames=7),
    "inpaint_0_0": MaskPlan(),
    "inpaint_4_0": MaskPlan(prefix_frames=4),
    "periodic_7_1": MaskPlan(periodic_prompt=7, periodic_prompt_width=1),
    "periodic_5_3": MaskPlan(periodic_prompt=5, periodic_prompt_width=3),
    "periodic_6_4": MaskPlan(periodic_prompt=6, periodic_prompt_width=4),
    "periodic_0_1": MaskPlan(periodic_prompt=0, periodic_prompt_width=1),
    "codebook_mask_2": replace(NOTHING, upper_codebook_mask=2),
    "codebook_mask_0": replace(NOTHING, upper_codebook_mask=0),
    "codebook_unmask_2": MaskPlan(n_conditioning_codebooks=2),
    "time_stretch_3": replace(NOTHING, time_stretch_factor=3),
}


def test_deterministic_masks_are_the_published_ones(golden: GoldenSet) -> None:
    assert set(PLANS) == set(DETERMINISTIC_MASKS)
    codes = golden.tensor("masks/z")
    for name, plan in PLANS.items():
        expected = golden.array(f"masks/{name}")
        found = generated(codes, plan, no_noise(codes))[..., : expected.shape[-1]]
        np.testing.assert_array_equal(found, expected, name)


def seeded_plan(golden: GoldenSet, name: str) -> MaskPlan:
    chosen = parameters(golden, "seeded_masks")[name]
    if name == "random_03":
        return MaskPlan(rand_mask_intensity=chosen["r"], rand_mask_cosine=True)
    if name == "linear_random_07":
        return MaskPlan(rand_mask_intensity=chosen["r"])
    if name == "periodic_roll_7_3":
        return MaskPlan(
            periodic_prompt=chosen["period"], periodic_prompt_width=chosen["width"]
        )
    published = {"_dropout": "dropout", "ncc": "n_conditioning_codebooks"}
    choices = {published.get(key, key): value for key, value in chosen.items()}
    return plan_mask(mask_settings(**choices), golden.models.codec.dims)


def seeded_noise(name: str, codes: torch.Tensor, plan: MaskPlan, seed: int) -> MaskNoise:
    """Draw what the recorded function drew: of all but `build_mask` only its own part."""
    generator = torch.Generator().manual_seed(seed)
    if name == "periodic_roll_7_3":
        masks.periodic_mask(codes, 7, 3, generator=generator)
        roll = int(torch.randint(0, 7, (1,), generator=generator))
        return replace(no_noise(codes), roll=roll)
    if name == "dropout_025":
        masks.periodic_mask(codes, 7, 1, generator=generator)
        count = int(codes.shape[-1] * plan.dropout)
        dropped = torch.randint(0, codes.shape[-1], (count,), generator=generator)
        return replace(no_noise(codes), dropped=dropped)
    return draw_mask_noise(codes, plan, generator=generator)


@pytest.mark.parametrize("name", SEEDED_MASKS)
def test_seeded_masks_are_the_published_ones(golden: GoldenSet, name: str) -> None:
    codes = golden.tensor("masks/z")
    if name == "dropout_025":
        plan = MaskPlan(periodic_prompt=7, dropout=0.25)
    else:
        plan = seeded_plan(golden, name)
    for case in golden.cases("seeded_masks"):
        noise = seeded_noise(name, codes, plan, int(case.split("/")[1]))
        expected = golden.array(f"{case}/{name}")
        np.testing.assert_array_equal(generated(codes, plan, noise), expected)
        np.testing.assert_array_equal(compose_mask(codes, plan, noise), expected)


def test_recorded_onsets_are_masked_as_published(golden: GoldenSet) -> None:
    narrow = golden.tensor("onset_mask/1/mask")
    onsets = tuple(torch.where(narrow[0, 0] == 0)[0].tolist()[1::2])
    for width in (1, 3):
        plan = MaskPlan(onset_frames=onsets, onset_mask_width=width)
        found = generated(narrow, plan, no_noise(narrow))
        np.testing.assert_array_equal(found, golden.array(f"onset_mask/{width}/mask"))


plans = st.builds(
    MaskPlan,
    rand_mask_intensity=st.floats(0, 1, width=32),
    rand_mask_cosine=st.booleans(),
    prefix_frames=st.integers(0, 60),
    suffix_frames=st.integers(0, 60),
    periodic_prompt=st.integers(0, 60),
    periodic_prompt_width=st.integers(0, 12),
    onset_frames=st.lists(st.integers(0, 60), max_size=5).map(tuple),
    onset_mask_width=st.integers(0, 8),
    beat_frames=st.lists(st.integers(0, 60), max_size=5).map(tuple),
    beat_before=st.integers(0, 8),
    beat_after=st.integers(0, 8),
    beat_dropout=st.floats(0, 1),
    beat_invert=st.booleans(),
    combine_or=st.booleans(),
    dropout=st.floats(0, 1),
    n_conditioning_codebooks=st.integers(0, 7),
    upper_codebook_mask=st.integers(0, 7),
    time_stretch_factor=st.integers(1, 4),
)


@settings(max_examples=300, deadline=None)
@given(shape=shapes, plan=plans, seed=st.integers(0, 2**31))
def test_any_plan_gives_the_mask_of_the_reference(
    shape: tuple[int, int, int], plan: MaskPlan, seed: int
) -> None:
    codes = codes_of(*shape)
    noise = draw_mask_noise(codes, plan, generator=torch.Generator().manual_seed(seed))
    expected = compose_mask(codes, plan, noise)
    np.testing.assert_array_equal(generated(codes, plan, noise), expected)


@settings(max_examples=60, deadline=None)
@given(
    shape=shapes,
    intensity=st.floats(0, 1),
    period=st.integers(0, 9),
    width=st.integers(0, 5),
    onset_width=st.integers(0, 3),
    dropout=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    factor=st.integers(1, 3),
)
def test_built_and_stretched_masks_are_those_of_the_published_interface(
    shape: tuple[int, int, int],
    intensity: float,
    period: int,
    width: int,
    onset_width: int,
    dropout: float,
    seed: int,
    factor: int,
) -> None:
    codes, onsets = codes_of(*shape), (1, 7, 20)
    chosen = mask_settings(
        rand_mask_intensity=intensity,
        prefix_s=0.002,
        periodic_prompt=period,
        periodic_prompt_width=width,
        onset_mask_width=onset_width,
        dropout=dropout,
        n_conditioning_codebooks=1,
    )
    generator = torch.Generator().manual_seed(seed)
    built = build_mask(codes, chosen, DIMS, onsets=onsets, generator=generator)
    plan = replace(plan_mask(chosen, DIMS, onsets=onsets), time_stretch_factor=factor)
    noise = draw_mask_noise(codes, plan, generator=torch.Generator().manual_seed(seed))
    expected = stretch(codes, built, factor)[1]
    np.testing.assert_array_equal(generated(codes, plan, noise), expected)


def test_an_or_takes_what_any_strategy_in_use_masks() -> None:
    codes = codes_of(1, 1, 12)
    noise = replace(no_noise(codes), uniform=torch.full((1, 1, 12), 0.5))
    off = MaskPlan(rand_mask_intensity=0.0, combine_or=True)
    assert not generated(codes, off, noise).any()
    prefix = replace(off, prefix_frames=10)
    assert generated(codes, prefix, noise)[0, 0].tolist() == [0] * 10 + [1] * 2
    both = replace(prefix, onset_frames=(11,), onset_mask_width=1)
    assert generated(codes, both, noise)[0, 0].tolist() == [1] * 12
    beat = replace(prefix, beat_frames=(11,), beat_before=0, beat_after=1)
    own = replace(noise, beats=torch.zeros(1, 1))
    assert generated(codes, beat, own)[0, 0].tolist() == [0] * 10 + [1, 0]


def test_the_global_generator_draws_the_same_noise() -> None:
    codes, plan = codes_of(2, 3, 20), MaskPlan(periodic_prompt=4, dropout=0.3)
    torch.manual_seed(5)
    first = draw_mask_noise(codes, plan)
    second = draw_mask_noise(codes, plan, generator=torch.Generator().manual_seed(5))
    assert torch.equal(first.uniform, second.uniform) and first.roll == second.roll
    assert torch.equal(first.dropped, second.dropped)


def test_too_little_noise_stops_the_run() -> None:
    codes = codes_of(1, 2, 10)
    for drawn in (0, 4):
        noise = replace(no_noise(codes), dropped=torch.zeros(drawn, dtype=torch.int64))
        with pytest.raises(Exception, match=r"(?i)reshape"):
            generated(codes, MaskPlan(dropout=0.5), noise)
    with pytest.raises(Exception, match=r"(?i)reshape"):
        generated(codes, MaskPlan(), no_noise(codes_of(1, 2, 9)))


def test_a_long_clip_with_many_onsets_needs_little_memory() -> None:
    """Ten minutes of onsets, several a second: their product with time would be 10^9."""
    codes, onsets = codes_of(1, 2, 400_000), tuple(range(0, 400_000, 100))
    plan = MaskPlan(onset_frames=onsets, onset_mask_width=2)
    found = generated(codes, plan, no_noise(codes))
    assert (found == 0).sum() == 2 * (4 * len(onsets) - 4)  # the first selects nothing


# A broken mask generator is caught by the gates of the main job.


def _rolled_back(given: Any, time: Any, frames: Any) -> Any:
    return _PERIODIC({**given, "roll": -given["roll"]}, time, frames)


def _odd_width(given: Any, time: Any, frames: Any) -> Any:
    width = given["periodic_prompt_width"]
    return _PERIODIC({**given, "periodic_prompt_width": width - 1}, time, frames)


def _clipped_start(g: Any, events: Any, before: Any, after: Any, frames: Any) -> Any:
    """Starts before the clip's are the clip's, which is not what a slice does."""
    return _AROUND(g, events, before.minimum(1), after, frames)


def _one_fewer(g: Any, given: Any, frames: Any) -> Any:
    return _DROPPED(g, {**given, "dropout": given["dropout"] * 0.5}, frames)


def _plain_probability(g: Any, given: Any) -> Any:
    return _RANDOM(g, {**given, "rand_mask_cosine": g.constant(False)})


_PERIODIC, _AROUND = exported._periodic, exported._around
_DROPPED, _RANDOM = exported._dropped, exported._random

BROKEN: dict[str, tuple[str, Callable[..., Any]]] = {
    "rolled the other way": ("_periodic", _rolled_back),
    "an even width keeps one fewer": ("_periodic", _odd_width),
    "onsets narrower": ("_around", _clipped_start),
    "half of the dropout": ("_dropped", _one_fewer),
    "no cosine": ("_random", _plain_probability),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_mask_generator_fails_its_gates(
    golden_a: GoldenSet, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(exported, *BROKEN[name])
    component = mask_generator(golden_a.models.codec.dims)
    # Without the cosine, the input that asks for it does nothing.
    deaf = {"input_sensitivity"} if name == "no cosine" else set()
    failed = failed_gates(verified(component, golden_a.models, seeds=3))
    assert failed == {"codes_differing"} | deaf


@pytest.mark.parametrize(
    "name",
    [
        "combine_or",
        "dropout",
        "upper_codebook_mask",
        "n_conditioning_codebooks",
        "roll",
        "time_stretch_factor",
        "prefix_frames",
        "suffix_frames",
        "periodic_prompt",
        "uniform",
        "onset_frames",
        "onset_mask_width",
        "beat_frames",
        "beat_before",
        "beat_after",
        "beat_dropout",
        "beat_invert",
        "beat_uniform",
    ],
)
def test_a_frozen_option_fails_the_gates(golden_a: GoldenSet, name: str) -> None:
    component = mask_generator(golden_a.models.codec.dims)
    run, first = run_component(component), {}

    def frozen(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = inputs[name]
        return run({**inputs, name: first.setdefault(given.shape, given)})

    assert failed_gates(verified(component, golden_a.models, frozen, seeds=3))


def test_the_whole_one_passes_every_gate(golden: GoldenSet) -> None:
    component = mask_generator(golden.models.codec.dims)
    run: Run = run_component(component)
    assert not failed_gates(verified(component, golden.models, run))
