"""The transformers' files: any length, and the mask token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.exports import session_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.models import ModelSet


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 300), batch=st.integers(1, 3), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_the_transformers_take_any_length_and_the_mask_token(
    models: ModelSet, nano_artifacts: Artifacts, name: str, frames: int, batch: int, seed: int
) -> None:
    model = models.transformers[name]
    shape = (batch, model.dims.n_codebooks, frames)
    codes = np.random.default_rng(seed).integers(0, model.dims.vocab_size + 1, shape)
    found = session_of(nano_artifacts, name).run(None, {"codes": codes})[0]
    expected = model.forward_codes(torch.from_numpy(codes), models.codec.quantizer).numpy()
    assert np.abs(found - expected).max() <= 5e-6 * np.abs(expected).max()
