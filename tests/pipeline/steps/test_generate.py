"""Generations on the artifacts are those of the models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.support.pipeline_inputs import codes_for
from tests.support.recorded_cases import golden_model
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.errors import NotFiniteError
from vampnet_onnx.configs.settings import Mode, generation_settings, vamp_settings
from vampnet_onnx.models.behaviour.generate import generate as generate_in_torch
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.pipeline.steps.generate import generate
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Transformer
from vampnet_onnx.verify.golden.of_files import FromTorch


@pytest.mark.parametrize(
    "choices",
    [
        {"top_k": 5},
        {"top_p": 0.7, "temperature": 0.6},
        {"typical_min_tokens": 3},
        {"cfg_guidance": 2.0},
        {"sample_cutoff": 0.4},
        {"temperature": 0.0},
    ],
)
def test_the_corrected_mode_is_that_of_the_models(
    golden_a: GoldenSet, pipeline_a: VampPipeline, choices: dict[str, Any]
) -> None:
    chosen = generation_settings(
        **{
            "steps": 5,
            "mode": Mode.CORRECTED,
            "typical_filtering": "typical_min_tokens" in choices,
            **choices,
        }
    )
    model = golden_model(golden_a, "coarse")
    codes = np.full((2, model.n_codebooks, 30), model.mask_token)
    codes[0, :, ::4] = 3  # items with different counts of masked codes
    found = generate(
        pipeline_a.components.transformer("coarse"),
        pipeline_a.components.session("sampler"),
        codes,
        None,
        settings=chosen,
        noise=FromTorch(5),
    )
    expected = generate_in_torch(
        model, torch.from_numpy(codes), None, settings=chosen, noise=TorchNoise(5)
    )
    np.testing.assert_array_equal(found, expected)


def test_logits_that_are_not_finite_stop_with_step_component_and_seed(
    pipeline_a: VampPipeline,
) -> None:
    model = pipeline_a.components.transformer("coarse")
    calls = 0

    class Broken(Transformer):
        def logits(self, codes: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            found = model.logits(codes)
            if calls == 3:
                found[0, 0, 0] = np.nan
            return found

    broken = Broken(**{name: getattr(model, name) for name in vars(model)})
    codes = np.full((1, model.n_codebooks, 9), model.mask_token)
    with pytest.raises(NotFiniteError, match=r"^coarse: step 3 of 4, seed 7: logits"):
        generate(
            broken,
            pipeline_a.components.session("sampler"),
            codes,
            None,
            settings=generation_settings(steps=4),
            noise=PhiloxNoise(7),
        )


def test_a_temperature_that_makes_no_numbers_stops(pipeline_a: VampPipeline) -> None:
    chosen = vamp_settings(generation_settings(temperature=1e-42))
    codes = codes_for(pipeline_a)
    with pytest.raises(NotFiniteError, match=r"coarse: step 1 of 12 in chunk 1 of 1, seed 0"):
        pipeline_a.vamp(codes, np.ones_like(codes), chosen, noise=PhiloxNoise(0))
