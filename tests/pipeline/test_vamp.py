"""The pipeline as a whole: what it takes and gives, and how much is held at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.exports import with_weights_outside
from tests.support.pipeline_inputs import codes_for, noise_like
from vampnet_onnx.configs.settings import mask_settings, vamp_settings
from vampnet_onnx.pipeline.steps.loudness import measure
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.steps.streaming import pieces
from vampnet_onnx.pipeline.vamp import VampPipeline


def test_a_stream_is_held_a_window_at_a_time(
    pipeline_a: VampPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The longest input any graph sees does not grow with the audio."""
    seen: dict[str, int] = {}
    parts = pipeline_a.components
    # Windows run on sessions of one thread, where there are several.
    for name, threads in (
        ("audio_processor", None),
        ("codec_encoder", None),
        ("codec_encoder", 1),
    ):
        session = parts.session(name, threads=threads)

        def watched(inputs: Any, name: str = name, run: Any = session.run, **kw: Any) -> Any:
            seen[name] = max(seen.get(name, 0), inputs["audio"].shape[-1])
            return run(inputs, **kw)

        monkeypatch.setattr(session, "run", watched)
    longest = []
    for seconds in (60, 180):
        seen.clear()
        audio = noise_like(1, 1, seconds * 8000)
        codes = pipeline_a.encode(
            pipeline_a.prepare_stream(lambda a=audio: pieces(a, 8000), 8000)
        )
        assert codes.shape[-1] == seconds * 8000 // 64
        longest.append(dict(seen))
    assert longest[0].keys() == {"audio_processor", "codec_encoder"}
    for name, most in longest[1].items():
        # Where windows end depends on the length; three times as long is what must not show.
        assert most < 1.5 * longest[0][name]


def test_equal_channels_stay_equal_and_their_balance_is_kept(pipeline_a: VampPipeline) -> None:
    left = noise_like(6400)
    audio, made = pipeline_a.process_audio(
        np.stack([left, 0.5 * left]), 8000, seed=1, keep_stereo=True
    )
    assert audio.shape == (1, 2, 6400)
    assert made.tokens.shape[:2] == (1, 2) and made.mask.shape[0] == 1
    np.testing.assert_array_equal(made.tokens[0, 0], made.tokens[0, 1])
    np.testing.assert_allclose(audio[0, 1], 0.5 * audio[0, 0], rtol=1e-4, atol=1e-6)
    mixed, _ = pipeline_a.process_audio(np.stack([left, left]), 8000, seed=1)
    np.testing.assert_allclose(mixed[0, 0], audio[0, 0], rtol=0, atol=1e-4)


def test_audio_is_taken_as_people_have_it(exported_a: Path) -> None:
    """Mono without an axis of channels, float64, and a path as text change nothing."""
    mono = noise_like(1, 3200)
    pipeline = VampPipeline.open(str(exported_a))
    audio, made = pipeline.process_audio(mono, 8000, seed=2)
    for given in (mono[0], mono.astype(np.float64), mono[0].tolist()):
        same, _ = pipeline.process_audio(given, 8000, seed=2)
        np.testing.assert_array_equal(same, audio)
    for given in (mono[0], mono):
        prepared = pipeline.prepare(given, 8000)
        np.testing.assert_array_equal(pipeline.encode(prepared), made.codes)


def test_a_variation_says_what_it_is_without_its_arrays(pipeline_a: VampPipeline) -> None:
    audio = noise_like(2, 3200)
    _, made = pipeline_a.process_audio(
        audio,
        8000,
        seed=5,
        keep_stereo=True,
        mask=mask_settings(periodic_prompt=0, prefix_s=0.2, upper_codebook_mask=99),
        settings=vamp_settings(batch_size=3, time_stretch_factor=2),
    )
    assert repr(made) == (
        "<Variation: 3 of 2 channels, 5 codebooks, 100 frames (0.80 s), 50% masked, seed 5>"
    )
    rows = made.to_rows()
    assert [(row["variation"], row["channel"]) for row in rows] == [
        (variation, channel) for variation in range(3) for channel in range(2)
    ]
    shared = {"seed": 5, "codebooks": 5, "frames": 100, "seconds": 0.8, "masked": 0.5}
    for row in rows:
        assert shared.items() <= row.items()
        assert all(isinstance(value, int | float) for value in row.values())
        channel = row["channel"]
        tokens = made.tokens[row["variation"], channel][:, ::2]
        assert row["changed"] == np.mean(tokens != made.codes[channel]) > 0
        assert row["balance"] == made.balance[channel]
    assert made.balance.max() == 1


def test_prepared_audio_vamped_codes_and_pipelines_say_what_they_are(
    pipeline_a: VampPipeline,
) -> None:
    prepared = pipeline_a.prepare(noise_like(640), 8000)
    assert repr(prepared).startswith("Prepared(loudness=array([-")
    codes = codes_for(pipeline_a)
    made = pipeline_a.vamp(codes, np.zeros_like(codes), noise=PhiloxNoise(0))
    assert repr(made) == "<Vamped: 1 of 5 codebooks, 40 frames>"
    said = repr(pipeline_a)
    assert said.startswith("<VampPipeline of golden-a v1 (not verified): 8000 Hz, 5 codebooks")


def test_weights_outside_give_what_those_within_give(
    pipeline_a: VampPipeline, exported_a: Path, tmp_path: Path
) -> None:
    outside = VampPipeline(with_weights_outside(exported_a, tmp_path / "v1"))
    audio = noise_like(1, 3200)
    found, made = outside.process_audio(audio, 8000, seed=0)
    expected, same = pipeline_a.process_audio(audio, 8000, seed=0)
    np.testing.assert_array_equal(made.tokens, same.tokens)
    np.testing.assert_array_equal(found, expected)


def test_audio_is_as_loud_as_it_came_unless_asked(pipeline_a: VampPipeline) -> None:
    audio = noise_like(2, 22050, scale=0.02)
    given = measure([audio], 22050).loudness
    options = {"seed": 0, "keep_stereo": True}
    same, made = pipeline_a.process_audio(audio, 22050, **options)
    np.testing.assert_allclose(measure([same[0]], 8000).loudness, given, atol=1e-3)
    left, _ = pipeline_a.process_audio(audio, 22050, **options, output_loudness="codec")
    decoded = pipeline_a.decode(made.tokens[0])[:, 0]
    np.testing.assert_allclose(left[0], decoded * made.balance[:, None], atol=1e-6)
    mixed, _ = pipeline_a.process_audio(audio, 22050, **options, mix=0.5)
    np.testing.assert_allclose(measure([mixed[0]], 8000).loudness, given, atol=1e-3)
    assert not np.allclose(mixed, same, atol=1e-3)
