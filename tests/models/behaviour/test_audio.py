"""models/behaviour/audio.py prepares audio as the published package does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.audio_signals import noise, sine
from tests.support.sets import GoldenSet, assert_within
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models.behaviour import audio as prepared
from vampnet_onnx.models.behaviour.interface import encode
from vampnet_onnx.models.networks.dims import CodecDims

OUTPUT_TOLERANCE = 1e-6  # required: 1e-4; the recorded cases come out equal to the bit
LOUDNESS_TOLERANCE = 1e-4  # LU; required: 0.01

RATES = [8000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000]
DIMS = CodecDims(4, (2, 4), 32, (4, 2), 3, 16, (6, 6, 6), 8000)


def test_preprocess_gives_the_published_audio(golden: GoldenSet) -> None:
    cases = golden.cases("preprocess")
    assert len(cases) >= 4
    for case in cases:
        rate = int(golden.array(f"{case}/sample_rate"))
        found = prepared.preprocess(
            golden.tensor(f"{case}/audio"), rate, golden.models.codec.dims
        )
        expected = golden.array(f"{case}/output")
        if expected.any():
            assert_within(found, expected, OUTPUT_TOLERANCE)
        else:
            np.testing.assert_array_equal(found, expected)


def test_loudness_is_the_published_one(golden: GoldenSet) -> None:
    for case in golden.cases("preprocess"):
        rate = int(golden.array(f"{case}/sample_rate"))
        found = prepared.loudness(golden.tensor(f"{case}/audio"), rate)
        expected = golden.array(f"{case}/input_loudness")
        np.testing.assert_allclose(found, expected, rtol=0, atol=LOUDNESS_TOLERANCE)


def test_prepared_audio_encodes_to_the_published_codes(golden: GoldenSet) -> None:
    codec = golden.models.codec
    for case in golden.cases("vamp"):
        codes = encode(golden.tensor(f"{case}/audio"), codec.dims.sample_rate, codec)
        np.testing.assert_array_equal(codes, golden.array(f"{case}/codes"))


@settings(max_examples=20, deadline=None)
@given(
    rate=st.sampled_from(RATES),
    channels=st.integers(1, 3),
    samples=st.integers(200, 6000),
    batch=st.integers(1, 2),
)
def test_preprocess_pads_to_whole_hops_and_keeps_the_peak(
    rate: int, channels: int, samples: int, batch: int
) -> None:
    found = prepared.preprocess(noise(batch, channels, samples), rate, DIMS)
    resampled = DIMS.sample_rate * samples // rate
    hop = DIMS.hop_length
    assert found.shape == (batch, 1, math.ceil(resampled / hop) * hop)
    assert not found[..., resampled:].any()
    assert found.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("samples", [1, 3, 7, 8, 9])
def test_preprocess_takes_audio_shorter_than_anything(samples: int) -> None:
    found = prepared.preprocess(noise(1, 1, samples), DIMS.sample_rate, DIMS)
    assert found.shape[-1] in (8, 16)
    assert torch.isfinite(found).all()


def test_batch_items_are_prepared_independently() -> None:
    both = noise(2, 2, 30000) * torch.tensor([1.0, 0.01])[:, None, None]
    together = prepared.preprocess(both, 44100, DIMS)
    for i in range(2):
        alone = prepared.preprocess(both[i : i + 1], 44100, DIMS)
        assert_within(together[i : i + 1], alone, 1e-6)


def test_silence_stays_silent() -> None:
    assert not prepared.preprocess(torch.zeros(1, 2, 9000), 44100, DIMS).any()
    assert prepared.loudness(torch.zeros(1, 1, 9000), 8000).item() == -70.0


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("new_rate", [8000, 44100])
def test_resampling_keeps_a_tone_below_the_cutoff(rate: int, new_rate: int) -> None:
    found = prepared.resample(sine(1000.0, rate, 0.25), rate, new_rate)
    expected = sine(1000.0, new_rate, 0.25)[..., : found.shape[-1]]
    inner = slice(200, -200)  # the ends see the replicated padding
    assert (found - expected)[..., inner].abs().max() < 2e-3


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_resampling_removes_a_tone_above_the_new_nyquist(rate: int) -> None:
    found = prepared.resample(sine(6000.0, rate, 0.25), rate, 8000)
    assert found[..., 200:-200].abs().max() < 2e-3


@settings(max_examples=30, deadline=None)
@given(old=st.sampled_from(RATES), new=st.sampled_from(RATES), samples=st.integers(300, 3000))
def test_resampled_length_is_the_floor_and_a_constant_stays(
    old: int, new: int, samples: int
) -> None:
    found = prepared.resample(torch.full((1, 2, samples), 0.5), old, new)
    assert found.shape == (1, 2, new * samples // old)
    assert (found - 0.5).abs().max() < 1e-6


@settings(max_examples=20, deadline=None)
@given(
    samples=st.integers(1, 700), rate=st.sampled_from(RATES), seed=st.integers(0, 2**31 - 1)
)
def test_blockwise_filter_equals_the_recursion_sample_by_sample(
    samples: int, rate: int, seed: int
) -> None:
    audio = noise(samples, seed=seed)
    shelf = prepared._high_shelf(rate, gain_db=4.0, quality=0.7, frequency=1500.0)
    highpass = prepared._high_pass(rate, quality=0.5, frequency=38.0)
    for coefficients in (shelf, highpass):
        b0, b1, b2, a1, a2 = coefficients.tolist()
        expected, s1, s2 = [], 0.0, 0.0
        for x in audio.tolist():
            y = b0 * x + s1
            s1, s2 = b1 * x - a1 * y + s2, b2 * x - a2 * y
            expected.append(y)
        np.testing.assert_allclose(
            prepared.biquad(audio, coefficients), expected, rtol=0, atol=1e-10
        )


@pytest.mark.parametrize(
    ("frequency", "gain_db", "within"), [(10, -23.9, 0.3), (1000, 0.6, 0.3), (10000, 4.0, 0.1)]
)
def test_k_weighting_is_a_high_pass_and_a_high_shelf(
    frequency: float, gain_db: float, within: float
) -> None:
    tone = sine(frequency, 44100)
    settled = slice(44100, None)
    power = [
        x[..., settled].double().square().mean()
        for x in (prepared.k_weight(tone, 44100), tone)
    ]
    assert abs(10 * math.log10(power[0] / power[1]) - gain_db) < within


def test_a_full_scale_tone_has_the_standards_loudness() -> None:
    """BS.1770-4: a 997 Hz sine at full scale in one channel reads -3.01 LKFS."""
    assert abs(prepared.loudness(sine(997.0, 48000), 48000).item() + 3.01) < 0.1


@settings(max_examples=20, deadline=None)
@given(decibels=st.floats(-20, 20), samples=st.integers(4000, 30000))
def test_loudness_moves_with_the_gain(decibels: float, samples: int) -> None:
    audio = noise(1, 1, samples)
    moved = prepared.loudness(audio * 10 ** (decibels / 20), 8000)
    expected = prepared.loudness(audio, 8000).item() + decibels
    assert abs(moved.item() - expected) < 1e-4


def test_a_last_partial_block_is_counted() -> None:
    rate = 8000
    quiet, loud = noise(1, 1, rate, scale=0.02), noise(1, 1, rate // 20, seed=1, scale=0.5)
    whole = torch.cat([quiet, loud], dim=-1)  # the loud end fills half a stride
    assert prepared.loudness(whole, rate) > prepared.loudness(quiet, rate) + 10


def test_quiet_blocks_are_gated() -> None:
    loud, silent = noise(1, 1, 16000), noise(1, 1, 160000, scale=1e-4)
    gated = prepared.loudness(torch.cat([loud, silent], dim=-1), 8000)
    assert abs(gated - prepared.loudness(loud, 8000)) < 1.0  # -10 dB without the gate


def test_blocks_under_the_absolute_gate_never_count() -> None:
    """Near -70 LUFS the relative gate is below the absolute one."""
    faint, fainter = noise(1, 1, 16000), noise(1, 1, 16000, seed=1)
    level = prepared.loudness(faint, 8000).item()
    faint, fainter = (
        x * 10 ** ((to - level) / 20) for x, to in ((faint, -66), (fainter, -73))
    )
    together = prepared.loudness(torch.cat([faint, fainter], dim=-1), 8000)
    assert abs(together + 66) < 0.3  # -68 if all counted


def test_surround_channels_weigh_more() -> None:
    audio = torch.zeros(1, 5, 16000)
    levels = []
    for channel in (0, 4):
        one = audio.clone()
        one[:, channel] = noise(16000)
        levels.append(prepared.loudness(one, 8000).item())
    assert abs(levels[1] - levels[0] - 10 * math.log10(1.41)) < 1e-3


@given(peak=st.floats(0.01, 10.0))
def test_only_a_peak_above_one_is_scaled(peak: float) -> None:
    audio = noise(1, 1, 100)
    audio = audio / audio.abs().max() * peak
    limited = prepared.limit_peak(audio)
    if audio.abs().max() > 1:
        assert abs(limited.abs().max().item() - 1) < 1e-6
        assert_within(limited, audio / audio.abs().max(), 1e-6)
    else:
        assert torch.equal(limited, audio)


def test_normalised_audio_has_the_target_loudness() -> None:
    levelled = prepared.normalise_loudness(noise(2, 1, 20000), 8000)
    assert (prepared.loudness(levelled, 8000) + 24).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("audio", "rate", "says"),
    [
        (torch.zeros(1, 1, 0), 8000, "empty"),
        (torch.zeros(0, 1, 10), 8000, "empty"),
        (torch.zeros(10), 8000, r"\[batch, channels, samples\]"),
        (torch.zeros(1, 1, 10, dtype=torch.int64), 8000, "float"),
        (torch.tensor([[[0.0, math.nan]]]), 8000, "NaN"),
        (torch.tensor([[[0.0, math.inf]]]), 8000, "infinite"),
        (torch.zeros(1, 1, 10), 0, "positive"),
        (torch.zeros(1, 1, 1), 16000, "less than one sample"),
        (torch.zeros(1, 1, 999), 191999, "standard rate"),
    ],
)
def test_impossible_audio_is_refused(audio: torch.Tensor, rate: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        prepared.preprocess(audio, rate, DIMS)


def test_more_channels_than_the_standard_has_no_loudness_but_is_mixed_down() -> None:
    many = noise(1, 32, 4000)
    with pytest.raises(InputError, match="32"):
        prepared.loudness(many, 8000)
    assert prepared.preprocess(many, 8000, DIMS).shape == (1, 1, 4000)


def test_the_target_rate_is_the_codecs() -> None:
    doubled = prepared.preprocess(noise(1, 1, 4000), 8000, replace(DIMS, sample_rate=16000))
    assert doubled.shape[-1] == 8000
