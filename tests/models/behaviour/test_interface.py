"""models/behaviour/interface.py makes the published variations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded_cases import cases, golden_model, header, parameters
from tests.support.sets import GoldenSet, assert_within
from tests.support.toy_model import toy_model
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import (
    Mode,
    VampSettings,
    generation_settings,
    vamp_settings,
)
from vampnet_onnx.models.behaviour import interface
from vampnet_onnx.models.behaviour.generate import TokenModel
from vampnet_onnx.models.behaviour.interface import Vamped
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.models.networks.dims import CodecDims

AUDIO_TOLERANCE = 2e-4  # of the peak: the published float32 decode is 7e-5 from float64

# A codec of 3 codebooks, 11 entries, 10 frames a second.
DIMS = CodecDims(4, (2, 4), 32, (4, 2), 3, 11, (6, 6, 6), 80)
COARSE = toy_model(n_codebooks=2, seed=1)
FINE = toy_model(n_conditioning=2, seed=2)


def vamp_of_case(golden: GoldenSet, case: str) -> Vamped:
    choices = parameters(golden, case)
    seed = choices.pop("seed")
    assert choices.pop("sample_rate") == golden.models.codec.dims.sample_rate
    of_vamp = {
        name: choices.pop(name)
        for name in ("batch_size", "feedback_steps", "time_stretch_factor")
        if name in choices
    }
    chosen = vamp_settings(
        generation_settings(**choices),
        coarse_chunk_s=header(golden, "coarse_chunk_size_s"),
        c2f_chunk_s=header(golden, "c2f_chunk_size_s"),
        **of_vamp,
    )
    return interface.vamp(
        golden.tensor(f"{case}/codes"),
        golden.tensor(f"{case}/mask"),
        coarse=golden_model(golden, "coarse"),
        c2f=golden_model(golden, "c2f"),
        dims=golden.models.codec.dims,
        settings=chosen,
        noise=TorchNoise(seed),
    )


def test_variations_are_the_published_ones_down_to_the_audio(golden: GoldenSet) -> None:
    found = cases(golden, "vamp")
    assert len(found) == 7
    for case in found:
        made = vamp_of_case(golden, case)
        np.testing.assert_array_equal(made.tokens, golden.array(f"{case}/tokens"), case)
        masked = golden.array(f"{case}/masked_tokens")
        np.testing.assert_array_equal(made.masked_tokens, masked, case)
        audio = golden.models.codec.decode_requantised(made.tokens)
        assert_within(audio, golden.array(f"{case}/output_audio"), AUDIO_TOLERANCE)


def codes_of(steps: int = 25, batch: int = 1) -> torch.Tensor:
    return torch.randint(0, 11, (batch, 3, steps), generator=torch.Generator().manual_seed(0))


def half_mask(codes: torch.Tensor) -> torch.Tensor:
    mask = torch.ones_like(codes)
    mask[..., ::3] = 0
    return mask


def toy_settings(**choices: object) -> VampSettings:
    given_ = {"coarse_chunk_s": 1.0, "c2f_chunk_s": 0.4, **choices}
    return vamp_settings(generation_settings(steps=3), **given_)


def vamped(
    codes: torch.Tensor,
    mask: torch.Tensor,
    *,
    c2f: TokenModel | None = FINE,
    chosen: VampSettings | None = None,
    seed: int = 0,
) -> Vamped:
    return interface.vamp(
        codes,
        mask,
        coarse=COARSE,
        c2f=c2f,
        dims=DIMS,
        settings=chosen or toy_settings(),
        noise=TorchNoise(seed),
    )


@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 32),
    batch=st.integers(1, 3),
    factor=st.integers(1, 3),
    feedback=st.integers(1, 2),
    seed=st.integers(0, 2**31),
    mode=st.sampled_from(Mode),
)
def test_variations_keep_what_the_mask_keeps(
    steps: int, batch: int, factor: int, feedback: int, seed: int, mode: Mode
) -> None:
    codes = codes_of(steps)
    mask = half_mask(codes)
    chosen = vamp_settings(
        generation_settings(steps=2, mode=mode),
        coarse_chunk_s=1.0,
        c2f_chunk_s=0.4,
        batch_size=batch,
        time_stretch_factor=factor,
        feedback_steps=feedback,
    )
    made = vamped(codes, mask, chosen=chosen, seed=seed)
    assert made.tokens.shape == made.masked_tokens.shape == (batch, 3, steps * factor)
    assert (made.tokens < 11).all()
    kept = (mask == 0).expand(batch, -1, -1)
    assert torch.equal(made.tokens[..., ::factor][kept], codes.expand(batch, -1, -1)[kept])
    shown = made.masked_tokens < 11
    if feedback == 1:
        assert torch.equal(made.tokens[shown], made.masked_tokens[shown])


@given(steps=st.integers(1, 20), factor=st.integers(1, 5))
def test_stretching_repeats_steps_and_masks_the_repetitions(steps: int, factor: int) -> None:
    codes = codes_of(steps)
    longer, mask = interface.stretch(codes, half_mask(codes), factor)
    assert longer.shape == mask.shape == (1, 3, steps * factor)
    for i in range(factor):
        assert torch.equal(longer[..., i::factor], codes)
        expected = half_mask(codes) if i == 0 else torch.ones_like(codes)
        assert torch.equal(mask[..., i::factor], expected)


def test_a_chunk_that_keeps_anything_keeps_its_edges() -> None:
    mask = torch.ones(2, 3, 6, dtype=torch.int64)
    assert torch.equal(interface.keep_edges(mask), mask)
    mask[1, 2, 3] = 0  # one code of one item is enough for all of both
    found = interface.keep_edges(mask)
    assert not found[..., [0, -1]].any()
    assert found[..., 1:-1].sum() == 2 * 3 * 4 - 1
    assert mask.sum() == 35


def test_coarse_chunks_look_at_coarse_codebooks_alone() -> None:
    codes, mask = codes_of(20), torch.ones(1, 3, 20, dtype=torch.int64)
    mask[:, 2, :10] = 0  # fine codes of the first chunk
    mask[:, 0, 12] = 0  # a coarse code of the second
    made = vamped(codes, mask, c2f=None)
    masked = made.masked_tokens[0, :2] == 11
    assert masked[:, :10].all()
    assert [t for t in range(10, 20) if not masked[1, t]] == [10, 19]
    assert torch.equal(made.tokens[:, 2], codes[:, 2])


def test_noise_goes_on_from_chunk_to_chunk() -> None:
    codes, mask = codes_of(20), torch.ones(1, 3, 20, dtype=torch.int64)
    same = codes.clone()
    same[..., 10:] = same[..., :10]
    first, second = vamped(same, mask, c2f=None).tokens.split(10, dim=-1)
    assert not torch.equal(first, second)


def test_feedback_under_the_original_mask_only_uses_up_noise() -> None:
    codes = codes_of(10)
    mask = half_mask(codes)
    twice = vamped(codes, mask, c2f=None, chosen=toy_settings(feedback_steps=2))
    part = interface.Part(COARSE, generation_settings(steps=3), 10, TorchNoise(0))
    first, second = (interface.coarse_vamp(part, codes, mask) for _ in range(2))
    assert torch.equal(twice.tokens, second.tokens)
    assert torch.equal(twice.masked_tokens, first.masked_tokens)
    assert not torch.equal(first.tokens, second.tokens)


def test_the_fine_model_sees_whole_chunks_filled_up_with_masked_codes() -> None:
    seen: list[torch.Tensor] = []

    def watched(codes: torch.Tensor) -> torch.Tensor:
        seen.append(codes)
        return FINE.logits(codes)

    codes = codes_of(10)
    vamped(codes, torch.zeros_like(codes), c2f=replace(FINE, logits=watched))
    assert [tuple(c.shape) for c in seen] == 6 * [(1, 3, 4)]  # 3 chunks, 2 steps
    last = seen[4][0]
    assert torch.equal(last[:, :2], codes[0, :, 8:])
    assert (last[:2, 2:] == 0).all() and (last[2, 2:] == 11).all()


def test_a_mask_over_coarse_codebooks_does_not_reach_the_fine_model() -> None:
    codes = codes_of(8)
    part = interface.Part(FINE, generation_settings(steps=2), 4, TorchNoise(0))
    made = interface.coarse_to_fine(part, codes, torch.ones_like(codes))
    assert torch.equal(made.tokens[:, :2], codes[:, :2])
    assert torch.equal(made.masked_tokens[:, :2], codes[:, :2])
    assert (made.masked_tokens[:, 2] == 11).all()


def test_batch_items_of_one_input_are_different_variations() -> None:
    codes = codes_of()
    made = vamped(codes, half_mask(codes), chosen=toy_settings(batch_size=2))
    assert not torch.equal(made.tokens[0], made.tokens[1])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codes": codes_of()[:, :2]}, "3, steps"),
        ({"codes": codes_of(batch=2)}, "batch_size = 1"),
        ({"codes": codes_of()[0]}, "batch_size = 1"),
        ({"mask": torch.full((1, 3, 25), 2)}, "only 0"),
        ({"mask": torch.ones(1, 3, 24, dtype=torch.int64)}, "the mask is"),
        ({"coarse": replace(COARSE, n_codebooks=4)}, "4 codebooks"),
        ({"coarse": replace(COARSE, mask_token=12)}, "12 entries"),
        ({"c2f": replace(FINE, n_codebooks=2)}, "2 codebooks"),
        ({"c2f": replace(FINE, mask_token=10)}, "10 entries"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict[str, object], says: str) -> None:
    parts = {
        "codes": codes_of(),
        "mask": half_mask(codes_of()),
        "coarse": COARSE,
        "c2f": FINE,
        "dims": DIMS,
        "settings": toy_settings(),
        "noise": TorchNoise(0),
    }
    with pytest.raises(InputError, match=says):
        interface.vamp(**{**parts, **change})
