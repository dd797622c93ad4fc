"""The encoder's file: any length."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.exports import session_of
from tests.support.sets import NANO
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.models import ModelSet

HOP = int(np.prod(NANO["codec"]["decoder_rates"]))


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(1, 3 * HOP), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_encoder_takes_any_length_and_pads_inside_the_graph(
    models: ModelSet, nano_artifacts: Artifacts, samples: int, batch: int, seed: int
) -> None:
    audio = np.random.default_rng(seed).standard_normal((batch, 1, samples)) / 4
    audio = audio.astype(np.float32)
    found = session_of(nano_artifacts, "codec_encoder").run(None, {"audio": audio})
    expected = models.codec.encode(torch.from_numpy(audio))
    frames = -(-samples // HOP)
    assert found[0].shape == (batch, 3, frames)
    np.testing.assert_array_equal(found[0], expected.codes)
    np.testing.assert_allclose(found[1], expected.latents, rtol=0, atol=2e-5)
