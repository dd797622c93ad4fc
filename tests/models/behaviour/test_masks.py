"""models/behaviour/masks.py makes the published masks, with the published random draws."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded_cases import DETERMINISTIC_MASKS, SEEDED_MASKS, parameters
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.settings import mask_settings
from vampnet_onnx.models.behaviour import masks
from vampnet_onnx.models.behaviour.mask_plan import build_mask

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 50))


def codes_of(shape: tuple[int, int, int]) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def assert_mask(found: torch.Tensor, shape: tuple[int, int, int]) -> None:
    assert found.shape == shape and found.dtype == torch.int64
    assert ((found == 0) | (found == 1)).all()


def kept_steps(mask: torch.Tensor) -> list[int]:
    return torch.where(mask[0, 0] == 0)[0].tolist()


DETERMINISTIC = {
    "inpaint_5_7": lambda z: masks.inpaint(z, 5, 7),
    "inpaint_0_0": lambda z: masks.inpaint(z, 0, 0),
    "inpaint_4_0": lambda z: masks.inpaint(z, 4, 0),
    "periodic_7_1": lambda z: masks.periodic_mask(z, 7, 1),
    "periodic_5_3": lambda z: masks.periodic_mask(z, 5, 3),
    "periodic_6_4": lambda z: masks.periodic_mask(z, 6, 4),
    "periodic_0_1": lambda z: masks.periodic_mask(z, 0, 1),
    "codebook_mask_2": lambda z: masks.codebook_mask(torch.zeros_like(z), 2),
    "codebook_mask_0": lambda z: masks.codebook_mask(torch.zeros_like(z), 0),
    "codebook_unmask_2": lambda z: masks.codebook_unmask(masks.full_mask(z), 2),
    "time_stretch_3": lambda z: masks.time_stretch_mask(z, 3),
}


def test_deterministic_masks_are_the_published_ones(golden: GoldenSet) -> None:
    codes = golden.tensor("masks/z")
    recorded = {k.split("/")[1] for k in golden._arrays if k.startswith("masks/")} - {"z"}
    assert recorded == set(DETERMINISTIC) == set(DETERMINISTIC_MASKS)
    for name, make in DETERMINISTIC.items():
        np.testing.assert_array_equal(make(codes), golden.array(f"masks/{name}"), name)


def seeded_mask(
    golden: GoldenSet, name: str, generator: torch.Generator | None
) -> torch.Tensor:
    codes, given = golden.tensor("masks/z"), parameters(golden, "seeded_masks")[name]
    if name == "random_03":
        return masks.random(codes, given["r"], generator=generator)
    if name == "linear_random_07":
        return masks.linear_random(codes, given["r"], generator=generator)
    if name == "dropout_025":
        periodic = masks.periodic_mask(codes, 7, 1, generator=generator)
        return masks.dropout(periodic, given["p"], generator=generator)
    if name == "periodic_roll_7_3":
        return masks.periodic_mask(codes, **given, generator=generator)
    published = {"_dropout": "dropout", "ncc": "n_conditioning_codebooks"}
    choices = {published.get(key, key): value for key, value in given.items()}
    dims = golden.models.codec.dims
    return build_mask(codes, mask_settings(**choices), dims, generator=generator)


@pytest.mark.parametrize("name", SEEDED_MASKS)
def test_seeded_masks_are_the_published_ones(golden: GoldenSet, name: str) -> None:
    assert set(parameters(golden, "seeded_masks")) == set(SEEDED_MASKS)
    for case in golden.cases("seeded_masks"):
        seed, expected = int(case.split("/")[1]), golden.array(f"{case}/{name}")
        torch.manual_seed(seed)
        np.testing.assert_array_equal(seeded_mask(golden, name, None), expected)
        own = torch.Generator().manual_seed(seed)
        np.testing.assert_array_equal(seeded_mask(golden, name, own), expected)


def test_onset_masks_are_the_published_ones(golden: GoldenSet) -> None:
    dims = golden.models.codec.dims
    for case in golden.cases("onset_mask"):
        audio, codes = golden.tensor(f"{case}/audio"), golden.tensor(f"{case}/z")
        onsets = masks.onset_frames(audio, dims.sample_rate, dims.hop_length)
        found = masks.onset_mask(codes, onsets, parameters(golden, case)["width"])
        np.testing.assert_array_equal(found, golden.array(f"{case}/mask"))


def test_recorded_onsets_are_masked_as_published(golden: GoldenSet) -> None:
    """Without librosa: the onsets are read off the recorded mask of width 1."""
    narrow, wide = golden.tensor("onset_mask/1/mask"), golden.tensor("onset_mask/3/mask")
    onsets = kept_steps(narrow)[1::2]
    assert onsets
    assert torch.equal(masks.onset_mask(narrow, onsets, 1), narrow)
    assert torch.equal(masks.onset_mask(wide, onsets, 3), wide)


def test_onsets_without_librosa_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(
        EnvironmentLacksError, match="librosa, which is not installed; install it"
    ):
        masks.onset_frames(torch.zeros(100), 8000, 8)


def test_an_onset_at_the_start_selects_from_the_end_as_published() -> None:
    codes = codes_of((1, 1, 40))
    assert kept_steps(masks.onset_mask(codes, [0], 3)) == []
    assert kept_steps(masks.onset_mask(codes, [2], 2)) == [0, 1, 2, 3]
    assert kept_steps(masks.onset_mask(codes_of((1, 1, 4)), [1], 3)) == [2, 3]


def test_an_even_prompt_width_keeps_one_step_more_as_published() -> None:
    codes = codes_of((1, 1, 30))
    for width in (2, 3):
        found = kept_steps(masks.periodic_mask(codes, 10, width))
        assert found == [0, 1, 9, 10, 11, 19, 20, 21]


def test_periodic_prompts_consume_a_number_for_every_step_they_cover() -> None:
    torch.manual_seed(3)
    masks.periodic_mask(codes_of((2, 4, 30)), 10, 3)
    found = torch.rand(1)
    torch.manual_seed(3)
    for _ in range(2):
        for covered in (2, 3, 3):
            torch.bernoulli(torch.ones(covered))
    assert torch.equal(found, torch.rand(1))


def test_no_period_draws_nothing() -> None:
    torch.manual_seed(3)
    masks.periodic_mask(codes_of((2, 4, 30)), 0, 3, random_roll=True)
    found = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(found, torch.rand(1))


@given(shape=shapes, probability=st.floats(0, 1))
def test_random_masks_are_masks(shape: tuple[int, int, int], probability: float) -> None:
    codes = codes_of(shape)
    assert_mask(masks.linear_random(codes, probability), shape)
    assert_mask(masks.random(codes, probability), shape)
    assert masks.linear_random(codes, 1.0).all()
    assert not masks.linear_random(codes, 0.0).any()
    assert masks.random(codes, 0.0).all()


@given(shape=shapes, prefix=st.integers(0, 60), suffix=st.integers(0, 60))
def test_inpainting_keeps_both_ends(
    shape: tuple[int, int, int], prefix: int, suffix: int
) -> None:
    found = masks.inpaint(codes_of(shape), prefix, suffix)
    assert_mask(found, shape)
    steps = shape[-1]
    masked = [t for t in range(steps) if prefix <= t < steps - suffix]
    assert kept_steps(found) == [t for t in range(steps) if t not in masked]


@given(shape=shapes, period=st.integers(0, 60), width=st.integers(0, 9), roll=st.booleans())
def test_periodic_masks_are_masks(
    shape: tuple[int, int, int], period: int, width: int, roll: bool
) -> None:
    found = masks.periodic_mask(codes_of(shape), period, width, random_roll=roll)
    assert_mask(found, shape)
    assert bool(found.all()) == (period == 0)
    assert torch.equal(found, found[:1, :1].expand(shape))


@settings(deadline=None)
@given(shape=shapes, fraction=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_dropout_only_ever_masks_whole_steps_of_all_items(
    shape: tuple[int, int, int], fraction: float, seed: int
) -> None:
    given_mask = masks.linear_random(codes_of(shape), 0.5)
    before = given_mask.clone()
    draw = torch.Generator().manual_seed(seed)
    found = masks.dropout(given_mask, fraction, generator=draw)
    assert_mask(found, shape)
    assert torch.equal(given_mask, before)
    assert (found >= given_mask).all()
    changed = (found != given_mask).any(dim=1).any(dim=0)
    assert found[..., changed].all()
    assert changed.sum() <= int(shape[-1] * fraction)


@given(shape=shapes, count=st.integers(0, 8))
def test_codebooks_are_masked_from_one_and_kept_below_another(
    shape: tuple[int, int, int], count: int
) -> None:
    mask = masks.linear_random(codes_of(shape), 0.5)
    masked, kept = masks.codebook_mask(mask, count), masks.codebook_unmask(mask, count)
    assert masked[:, count:].all() and torch.equal(masked[:, :count], mask[:, :count])
    assert not kept[:, :count].any() and torch.equal(kept[:, count:], mask[:, count:])


@given(shape=shapes)
def test_and_masks_what_both_mask_or_what_either_masks(shape: tuple[int, int, int]) -> None:
    a, b = (masks.linear_random(codes_of(shape), 0.5) for _ in range(2))
    assert torch.equal(masks.mask_and(a, b), (a.bool() & b.bool()).long())
    assert torch.equal(masks.mask_or(a, b), (a.bool() | b.bool()).long())


@given(shape=shapes, factor=st.integers(1, 6))
def test_time_stretch_keeps_every_so_many_steps(
    shape: tuple[int, int, int], factor: int
) -> None:
    found = masks.time_stretch_mask(codes_of(shape), factor)
    assert_mask(found, shape)
    assert kept_steps(found) == list(range(0, shape[-1], factor))


def test_the_mask_token_goes_where_the_mask_is() -> None:
    codes = torch.arange(6).reshape(1, 2, 3)
    mask = torch.tensor([[[0, 1, 0], [1, 1, 0]]])
    assert masks.apply_mask(codes, mask, 99).tolist() == [[[0, 99, 2], [99, 99, 5]]]


def test_seconds_are_rounded_up_to_steps(golden_a: GoldenSet) -> None:
    dims = golden_a.models.codec.dims  # 8000 Hz, hop 64
    assert [masks.steps_of(s, dims) for s in (0, 0.008, 0.0081, 1)] == [0, 1, 2, 125]


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda z: masks.linear_random(z, 1.5), "= 1.5 is outside 0 to 1"),
        (lambda z: masks.random(z, -0.1), "= -0.1 is outside 0 to 1"),
        (lambda z: masks.inpaint(z, -1, 0), "cannot be negative: -1, 0"),
        (lambda z: masks.periodic_mask(z, -1), "cannot be negative: -1, 1"),
        (lambda z: masks.dropout(masks.full_mask(z), float("nan")), "= nan is outside"),
        (lambda z: masks.time_stretch_mask(z, 0), "at least 1, not 0"),
        (lambda z: mask_settings(dropout=2), "dropout = 2"),
        (lambda z: mask_settings(prefix_s=-1.0), "prefix_s = -1.0"),
        (lambda z: mask_settings(prefix=1.0), "'prefix'"),
    ],
)
def test_options_out_of_range_are_refused(call: Callable[..., object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(codes_of((1, 2, 10)))


def published_beats(
    steps: int, beats: list[int], around: tuple[int, int], dropout: float, invert: bool
) -> torch.Tensor:
    """Draw beat by beat from torch's global generator, as the published mask does."""
    mask = torch.zeros(steps)
    for beat in beats:
        own = mask[beat - around[0] : beat + around[1]]
        own[:] = torch.bernoulli(torch.ones(len(own)) * (1 - dropout))
    return 1 - mask if invert else mask


@settings(max_examples=200, deadline=None)
@given(
    steps=st.integers(1, 60),
    beats=st.lists(st.integers(0, 70), max_size=6),
    around=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    dropout=st.floats(0, 1),
    invert=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_beats_are_masked_and_drawn_as_published(
    steps: int,
    beats: list[int],
    around: tuple[int, int],
    dropout: float,
    invert: bool,
    seed: int,
) -> None:
    codes = codes_of((2, 3, steps))
    torch.manual_seed(seed)
    expected = published_beats(steps, beats, around, dropout, invert)
    after = torch.rand(1)
    torch.manual_seed(seed)
    noise = masks.beat_noise(steps, beats, *around)
    assert torch.equal(torch.rand(1), after)
    found = masks.beat_mask(
        codes, beats, *around, uniform=noise, dropout=dropout, invert=invert
    )
    assert_mask(found, (2, 3, steps))
    assert torch.equal(found[1, 2].float(), expected)
