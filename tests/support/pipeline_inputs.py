"""Audio and codes for the tests of the pipeline."""

from __future__ import annotations

import numpy as np

from vampnet_onnx.pipeline.steps.noise import Floats
from vampnet_onnx.pipeline.vamp import VampPipeline


def noise_like(*shape: int, seed: int = 0, scale: float = 0.1) -> Floats:
    draw = np.random.default_rng(seed)
    return (draw.standard_normal(shape) * scale).astype(np.float32)


def codes_for(pipeline: VampPipeline, frames: int = 40, batch: int = 1) -> np.ndarray:
    codec = pipeline.codec
    shape = (batch, codec.n_codebooks, frames)
    return np.random.default_rng(0).integers(0, codec.codebook_size, shape)
