"""The pipeline as a whole: channels, and how much of a stream is held at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.pipeline_inputs import noise_like
from vampnet_onnx.pipeline.steps.streaming import pieces
from vampnet_onnx.pipeline.vamp import VampPipeline


def test_a_stream_is_held_a_window_at_a_time(pipeline_a: VampPipeline) -> None:
    """The longest input any graph sees does not grow with the audio."""
    seen: dict[str, int] = {}
    parts = pipeline_a.components
    originals = {
        name: parts.session(name).run for name in ("audio_processor", "codec_encoder")
    }
    longest = []
    for seconds in (60, 180):
        seen.clear()
        for name, run in originals.items():

            def watched(inputs: Any, name: str = name, run: Any = run, **kw: Any) -> Any:
                seen[name] = max(seen.get(name, 0), inputs["audio"].shape[-1])
                return run(inputs, **kw)

            parts.session(name).run = watched  # type: ignore[method-assign]
        audio = noise_like(1, 1, seconds * 8000)
        codes = pipeline_a.encode_stream(
            pipeline_a.prepare_stream(lambda a=audio: pieces(a, 8000), 8000)
        )
        assert codes.shape[-1] == seconds * 8000 // 64
        longest.append(dict(seen))
    for name, run in originals.items():
        parts.session(name).run = run  # type: ignore[method-assign]
    assert longest[0] == longest[1]


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
