"""The decoder's file: any number of codebooks."""

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
@given(
    books=st.integers(1, 3),
    frames=st.integers(1, 40),
    batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_the_decoder_takes_any_number_of_codebooks(
    models: ModelSet, nano_artifacts: Artifacts, books: int, frames: int, batch: int, seed: int
) -> None:
    codes = np.random.default_rng(seed).integers(0, 12, (batch, books, frames))
    found = session_of(nano_artifacts, "codec_decoder").run(None, {"codes": codes})[0]
    expected = models.codec.decode_codes(torch.from_numpy(codes))
    assert found.shape == (batch, 1, frames * HOP)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
