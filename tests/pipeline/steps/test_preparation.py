"""Audio is prepared as published, in one or in windows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pipeline_inputs import noise_like
from tests.support.sets import EXPORTED_RATES, GoldenSet, assert_within
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.steps.preparation import Prepared
from vampnet_onnx.pipeline.steps.streaming import pieces
from vampnet_onnx.pipeline.vamp import VampPipeline

SILENCE = np.float32(1e-6)  # so that silent audio has a peak to be relative to


def test_audio_is_prepared_and_encoded_as_published(
    golden: GoldenSet, pipeline: VampPipeline
) -> None:
    rates = {pipeline.codec.sample_rate, *EXPORTED_RATES}
    for case in golden.cases("preprocess"):
        audio, rate = golden.array(f"{case}/audio"), int(golden.array(f"{case}/sample_rate"))
        assert rate in rates
        expected = golden.array(f"{case}/output")
        for made in (
            pipeline.prepare(audio, rate),
            pipeline.prepare_stream(lambda a=audio: pieces(a, 999), rate),
        ):
            assert_within(made.audio + SILENCE, expected + SILENCE, 1e-4)
    for case in golden.cases("encode"):
        audio = golden.array(f"{case}/audio")
        whole = np.pad(
            audio, ((0, 0), (0, 0), (0, -audio.shape[-1] % pipeline.codec.hop_length))
        )
        prepared = Prepared(lambda a=whole: [a], np.zeros(len(whole), np.float32))
        np.testing.assert_array_equal(pipeline.encode(prepared), golden.array(f"{case}/codes"))


@pytest.mark.parametrize("rate", [8000, 22050])
@pytest.mark.parametrize("seconds", [0.03, 0.7, 21.3])
def test_audio_is_prepared_in_windows_as_in_one(
    pipeline_a: VampPipeline, rate: int, seconds: float
) -> None:
    audio = noise_like(2, 2, int(seconds * rate))
    audio[0] *= np.linspace(0, 1, audio.shape[-1], dtype=np.float32)  # gates matter
    audio[1, :, audio.shape[-1] // 2] = 0.999  # the peak has to be limited
    audio[1] *= 0.02
    whole = pipeline_a.prepare(audio, rate)
    parts = pipeline_a.prepare_stream(lambda: pieces(audio, 50_000), rate)
    np.testing.assert_allclose(parts.loudness, whole.loudness, rtol=0, atol=1e-5)
    np.testing.assert_allclose(parts.audio, whole.audio, rtol=0, atol=1e-6)


def test_the_balance_of_equally_loud_items_is_one() -> None:
    assert Prepared(list, np.array([-20.0, -20.0], np.float32)).balance.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (np.zeros((1, 1, 0), np.float32), "empty"),
        (np.zeros((1, 1, 1, 4)), r"\[batch, channels, samples\], not \[1, 1, 1, 4\]"),
        (np.full((1, 1, 9), np.nan, np.float32), "NaN"),
        (np.full(9, 1e300), "infinite"),
        (np.zeros((1, 1, 9), np.int16), r"not int16; soundfile\.read\(file, dtype='float32'"),
        ([0, 1, 0], "not int64"),
        (np.zeros((900, 2)), r"\[900, 2\] has more channels than samples.*audio\.T"),
        (np.zeros((1, 900, 2)), r"soundfile's order"),
    ],
)
def test_audio_that_is_none_is_refused(
    pipeline_a: VampPipeline, audio: np.ndarray, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        pipeline_a.prepare(audio, 8000)
    if np.ndim(audio) < 3:
        with pytest.raises(InputError, match=says):
            pipeline_a.process_audio(audio, 8000, seed=0)


def test_only_a_clip_is_processed(pipeline_a: VampPipeline) -> None:
    with pytest.raises(InputError, match=r"must be \[channels, samples\], not \[1, 1, 900\]"):
        pipeline_a.process_audio(np.zeros((1, 1, 900), np.float32), 8000, seed=0)
