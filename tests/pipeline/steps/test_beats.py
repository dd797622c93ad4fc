"""Beats are heard as published: resampled, tracked, picked; and followed by a mask."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from tests.support.command_line import Cli
from tests.support.pipeline_inputs import noise_like
from tests.support.published_tracker import published_tracker
from training.music import beats as music_beats
from training.music import piece
from training.quality import f_measure
from training.styles import STYLES
from vampnet_onnx import VampPipeline, export_checkpoints
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.packaged import packaged_set
from vampnet_onnx.configs.settings import beat_settings, mask_settings
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.behaviour import audio as models_audio
from vampnet_onnx.models.behaviour.beats import beat_logits
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.pipeline.steps import beats
from vampnet_onnx.pipeline.steps.beats import activations, beat_times, peaks, resample


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(st.integers(0, 8), min_size=1, max_size=60),
    apart=st.floats(1, 12),
    least=st.floats(0, 8),
)
def test_peaks_are_scipys(values: list[int], apart: float, least: float) -> None:
    found = peaks(np.array(values, np.float32), least=least, apart=apart)
    expected = signal.find_peaks(np.array(values, np.float32), height=least, distance=apart)
    assert found.tolist() == expected[0].tolist()


@pytest.mark.parametrize("rates", [(16000, 22050), (44100, 22050), (8000, 8000)], ids=str)
@pytest.mark.parametrize("samples", [1, 7, 1000])
def test_the_resampler_is_the_codecs(
    rates: tuple[int, int], samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beats, "_AT_ONCE", 2)  # several pieces, even of a little audio
    audio = noise_like(samples, seed=samples)
    found = resample(audio, *rates)
    assert found.dtype == np.float32 and len(found) == samples * rates[1] // rates[0]
    if len(found):
        expected = models_audio.resample(torch.from_numpy(audio)[None, None], *rates)
        np.testing.assert_allclose(found, expected[0, 0].numpy(), rtol=0, atol=2e-6)


def test_activations_are_shares_of_the_likeliest() -> None:
    found = activations(np.array([-1.0, 0.0, 2.0], np.float32))
    expected = 1 / (1 + np.exp([1.0, 0.0, -2.0]))
    np.testing.assert_allclose(found, expected / expected[2], rtol=1e-6)


@pytest.mark.parametrize("rate", [2048, 6000])
def test_beats_are_those_of_the_published_tracker(rate: int) -> None:
    recorded, tracker = published_tracker()
    audio = recorded[f"at_{rate}/audio"].numpy()[0].astype(np.float32) / 32768
    samples = torch.from_numpy(resample(audio, rate, 2048))[None, None]
    found = beat_times(beat_logits(samples, tracker)[0].numpy(), 2048 / 64)
    for times, name in zip(found, ("beats", "downbeats"), strict=True):
        assert len(times) > 4
        np.testing.assert_allclose(times, recorded[f"at_{rate}/{name}"], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> tuple[VampPipeline, Path]:
    folder = tmp_path_factory.mktemp("with-beats")
    write_random_set(folder, like="tiny", seed=2)
    shutil.copy(packaged_set("demo") / "wavebeat.pth", folder)  # the one that is trained
    parts = [
        *("audio_processor", "mask_generator", "sampler", "beat_tracker"),
        *("codec_encoder", "codec_decoder", "coarse"),
    ]
    made = export_checkpoints(
        folder, folder / "made", components=parts, rates=[8000, 44100], jobs=1
    )
    return VampPipeline.open(made.folder), folder


def test_beats_are_the_peaks_of_what_the_models_compute(
    heard: tuple[VampPipeline, Path],
) -> None:
    pipeline, folder = heard
    rate = pipeline.codec.sample_rate
    prepared = pipeline.prepare(noise_like(1, 3 * rate), rate)
    found = pipeline.track_beats(prepared)
    tracker = Checkpoints(folder).models_for(("wavebeat",)).tracker
    assert tracker is not None
    with torch.inference_mode():
        audio = torch.from_numpy(prepared.audio)
        logits = beat_logits(models_audio.resample(audio, rate, 4000), tracker)[0]
    per_second = 4000 / 64
    for times, row, seconds in zip(
        (found.times, found.downbeats), logits.sigmoid(), (0.25, 0.5), strict=True
    ):
        assert times is not None
        share = (row / row.max()).numpy()
        at, _ = signal.find_peaks(share, height=0.5, distance=per_second * seconds)
        assert len(times) == len(at) > 0
        np.testing.assert_allclose(times, at / per_second, rtol=0, atol=1e-9)


def test_a_mask_follows_the_beats_and_audio_is_snapped_to_them(
    heard: tuple[VampPipeline, Path],
) -> None:
    pipeline, _ = heard
    rate = pipeline.codec.sample_rate
    audio = noise_like(1, 3 * rate)
    chosen = beat_settings(after_beat_s=0.03)
    mask = mask_settings(periodic_prompt=0, upper_codebook_mask=99)
    _, made = pipeline.process_audio(
        audio, rate, seed=1, mask=mask, coarse_only=True, follow_beats=chosen
    )
    prepared = pipeline.prepare(audio, rate)
    found = pipeline.track_beats(prepared, chosen)
    kept = {
        step
        for frame in found.frames(pipeline.codec)
        for step in range(frame, frame + pipeline.codec.frames_of(0.03))
    }
    assert kept and {*np.flatnonzero(made.mask[0, 0] == 0)} == {
        step for step in kept if step < made.mask.shape[-1]
    }
    first, last = int(found.times[0] * rate), int(found.times[-1] * rate)
    np.testing.assert_array_equal(pipeline.snap_to_beats(audio, rate), audio[:, first:last])


def test_the_command_follows_what_the_tracker_hears(
    heard: tuple[VampPipeline, Path], run: Cli
) -> None:
    pipeline, folder = heard
    rate = pipeline.codec.sample_rate
    audio = noise_like(1, 3 * rate)
    soundfile.write("in.wav", audio.T, rate, subtype="FLOAT")
    code, _, err = run(
        *("vamp", "in.wav", "out.wav", "--artifacts", folder / "made", "--coarse-only"),
        *("--steps", 1, "--save-tokens", "t.npz", "--follow-beats", "--after-beat-s", 0.03),
    )
    assert code == 0, err
    beats = pipeline.track_beats(
        pipeline.prepare(audio, rate), beat_settings(after_beat_s=0.03)
    )
    assert f"{len(beats.times)} beats heard, " in err and " a minute" in err
    with np.load("t.npz") as saved:
        expected = pipeline.build_mask(saved["input_codes"], seed=0, beats=beats)
        np.testing.assert_array_equal(saved["mask"], expected)
        plain = pipeline.build_mask(saved["input_codes"], seed=0)
        assert not np.array_equal(saved["mask"], plain)


def test_without_a_tracker_there_is_a_way_out(pipeline_a: VampPipeline) -> None:
    prepared = pipeline_a.prepare(noise_like(1, 8000), pipeline_a.codec.sample_rate)
    with pytest.raises(InputError, match=r"holds no beat_tracker; .*wavebeat\.pth.*--beats"):
        pipeline_a.track_beats(prepared)


@pytest.mark.parametrize(
    ("style", "tick_s", "rate", "channels"),
    [("band", 0.15, 44100, 2), ("ensemble", 0.16, 16000, 1), ("music-box", 0.18, 8000, 2)],
)
def test_known_beats_are_heard_at_tempi_rates_and_channels_of_their_own(
    heard: tuple[VampPipeline, Path], style: str, tick_s: float, rate: int, channels: int
) -> None:
    pipeline, _ = heard
    own, seconds = replace(STYLES[style], ticks_s=(tick_s,)), 8.0
    found = []
    for seed in range(1_000_100, 1_000_103):
        samples = piece(own, seed, seconds=seconds, rate=rate)
        clip = np.stack([samples, samples / 2][:channels])
        times = pipeline.track_beats(pipeline.prepare(clip[None], rate)).times
        found.append(f_measure(times, music_beats(own, seed, seconds=seconds)[0]))
    assert np.mean(found) > 0.85
