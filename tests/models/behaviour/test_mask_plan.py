"""models/behaviour/mask_plan.py composes the published mask, drawing what is published."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sets import GoldenSet
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import MaskSettings, mask_settings
from vampnet_onnx.models.behaviour import masks
from vampnet_onnx.models.behaviour.mask_plan import build_mask
from vampnet_onnx.models.networks.dims import CodecDims

DIMS = CodecDims(4, (2, 4), 16, (4, 2), 3, 11, (5, 5, 5), 800)  # a step is 10 ms

seconds = st.one_of(st.just(0.0), st.floats(0, 0.3))


def drawn_as_it_goes(
    codes: torch.Tensor, chosen: MaskSettings, onsets: list[int], draw: torch.Generator
) -> torch.Tensor:
    """Compose a mask of the published functions in the published order."""
    mask = masks.linear_random(codes, chosen.rand_mask_intensity, generator=draw)
    prefix, suffix = (masks.steps_of(s, DIMS) for s in (chosen.prefix_s, chosen.suffix_s))
    mask = masks.mask_and(mask, masks.inpaint(codes, prefix, suffix))
    periodic = masks.periodic_mask(
        codes,
        chosen.periodic_prompt,
        chosen.periodic_prompt_width,
        random_roll=True,
        generator=draw,
    )
    mask = masks.mask_and(mask, periodic)
    if chosen.onset_mask_width:
        onset = masks.onset_mask(codes, onsets, chosen.onset_mask_width)
        mask = masks.mask_and(mask, onset)
    mask = masks.dropout(mask, chosen.dropout, generator=draw)
    mask = masks.codebook_unmask(mask, chosen.n_conditioning_codebooks)
    return masks.codebook_mask(mask, chosen.upper_codebook_mask)


@settings(max_examples=300, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 50)),
    chosen=st.builds(
        MaskSettings,
        rand_mask_intensity=st.floats(0, 1),
        prefix_s=seconds,
        suffix_s=seconds,
        periodic_prompt=st.integers(0, 60),
        periodic_prompt_width=st.integers(0, 9),
        onset_mask_width=st.integers(0, 4),
        dropout=st.floats(0, 1),
        upper_codebook_mask=st.integers(0, 7),
        n_conditioning_codebooks=st.integers(0, 7),
    ),
    onsets=st.lists(st.integers(0, 49), max_size=5),
    seed=st.integers(0, 2**31),
)
def test_a_mask_of_a_plan_is_the_one_drawn_as_it_goes_with_the_same_draws(
    shape: tuple[int, int, int], chosen: MaskSettings, onsets: list[int], seed: int
) -> None:
    codes = torch.zeros(shape, dtype=torch.int64)
    first, second = (torch.Generator().manual_seed(seed) for _ in range(2))
    expected = drawn_as_it_goes(codes, chosen, onsets, first)
    found = build_mask(codes, chosen, DIMS, onsets=onsets, generator=second)
    assert torch.equal(found, expected) and found.dtype == torch.int64
    assert torch.equal(first.get_state(), second.get_state())


def test_a_built_mask_is_composed_in_the_published_order(golden_a: GoldenSet) -> None:
    dims = golden_a.models.codec.dims
    second = dims.hop_length / dims.sample_rate
    choices = mask_settings(
        periodic_prompt=0,
        prefix_s=4 * second,
        dropout=1.0,
        upper_codebook_mask=2,
        n_conditioning_codebooks=3,
    )
    torch.manual_seed(0)
    found = build_mask(torch.zeros(1, 5, 9, dtype=torch.int64), choices, dims)
    # Dropout overrules the prefix, conditioning codebooks dropout, upper codebooks all.
    assert not found[:, :2].any()
    assert found[:, 2:].all()


def test_onsets_are_kept_where_everything_else_agrees(golden_a: GoldenSet) -> None:
    dims = golden_a.models.codec.dims
    choices = mask_settings(periodic_prompt=0, onset_mask_width=1)
    found = build_mask(torch.zeros(1, 5, 9, dtype=torch.int64), choices, dims, onsets=[4])
    assert torch.where(found[0, 0] == 0)[0].tolist() == [3, 4]
    with pytest.raises(InputError, match="onset_mask_width = 1"):
        build_mask(torch.zeros(1, 5, 9, dtype=torch.int64), choices, dims)
