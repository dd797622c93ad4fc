"""Encoding and decoding in windows, and as the published interface decodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.pipeline_inputs import codes_for, noise_like
from tests.support.sets import GoldenSet, assert_within
from vampnet_onnx.export.components.codec_decoder import requantised
from vampnet_onnx.models import open_models
from vampnet_onnx.pipeline.steps import codec as pipeline_codec
from vampnet_onnx.pipeline.steps.streaming import joined, pieces
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Components

AUDIO_TOLERANCE = 2e-4  # of the peak: the published float32 decode is 7e-5 from float64


def test_windows_encode_and_decode_as_the_whole_does(pipeline: VampPipeline) -> None:
    parts, codec = pipeline.components, pipeline.codec
    audio = noise_like(2, 1, 90 * codec.hop_length)
    codes = parts.session("codec_encoder").run({"audio": audio})["codes"]
    decoded = parts.session("codec_decoder").run({"codes": codes})["audio"]
    for frames in (1, 7, 40):
        window_s = (frames - 0.5) * codec.hop_length / codec.sample_rate
        found = joined(
            pipeline_codec.encode_stream(parts, pieces(audio, 1000), window_s=window_s)
        )
        np.testing.assert_array_equal(found, codes)
        back = joined(pipeline_codec.decode_stream(parts, pieces(codes, 3), window_s=window_s))
        # Rounding: the decoder of set b turns another order of sums into 1e-4.
        assert_within(back, decoded, AUDIO_TOLERANCE)


def test_rows_that_point_the_same_way_are_decoded_as_the_first(
    golden_a: GoldenSet, pipeline_a: VampPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = open_models(golden_a.folder, only=()).codec
    assert codec is not None
    found = pipeline_a.components.triples("codec_decoder", "requantised")
    assert requantised(codec) == [list(row) for row in found]
    book = codec.quantizer.book(1).codebook.weight
    with torch.no_grad():
        book[7] = 2 * book[3]
    assert requantised(codec) == [[1, 7, 3]]
    facts = {"context_frames": 14, "requantised": [[1, 7, 3]]}
    monkeypatch.setattr(Components, "_fact", lambda _self, _id, name: facts[name])
    codes = codes_for(pipeline_a)
    codes[:, 1] = 7
    replaced = codes.copy()
    replaced[:, 1] = 3
    np.testing.assert_array_equal(pipeline_a.decode(codes), pipeline_a.decode(replaced))
    codes[:, 0] = 7
    assert not np.array_equal(pipeline_a.decode(codes), pipeline_a.decode(replaced))
