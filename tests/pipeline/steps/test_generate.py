"""Generations on the artifacts are those of the models."""

from __future__ import annotations

from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.pipeline_inputs import codes_for
from tests.support.recorded_cases import golden_model
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.errors import InputError, NotFiniteError
from vampnet_onnx.configs.settings import Mode, generation_settings, vamp_settings
from vampnet_onnx.models.behaviour.generate import generate as generate_in_torch
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.models.behaviour.torch_draws import TorchDraws
from vampnet_onnx.pipeline.steps.generate import generate
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Transformer


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
        noise=TorchDraws(5).of_tokens(),
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


@pytest.mark.filterwarnings("error")
def test_a_guidance_beyond_what_float32_holds_is_named(pipeline_a: VampPipeline) -> None:
    with pytest.raises(NotFiniteError, match=r"step 1 of 2, .*cfg_guidance = 3e\+38 is too l"):
        generate(
            pipeline_a.components.transformer("coarse"),
            pipeline_a.components.session("sampler"),
            codes_for(pipeline_a)[:, :2],
            None,
            settings=generation_settings(steps=2, mode=Mode.CORRECTED, cfg_guidance=3e38),
            noise=PhiloxNoise(0),
        )


class Drawn:
    """Noise that was drawn beforehand, one array after another."""

    name = "drawn before"

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self._arrays = iter(arrays)

    def exponential(self, shape: tuple[int, ...]) -> np.ndarray:
        found = next(self._arrays)
        assert found.shape == shape
        return found

    uniform = exponential


@pytest.mark.parametrize(
    ("choices", "drawing_steps", "items"),
    [
        ({}, 5, 2),
        ({"sample_cutoff": 0.4}, 3, 2),
        ({"sample_cutoff": 0.0}, 1, 2),
        ({"cfg_guidance": 2.0}, 5, 4),  # reference mode draws for a doubled batch
        ({"cfg_guidance": 2.0, "mode": Mode.CORRECTED}, 5, 2),
    ],
)
def test_noise_drawn_while_the_network_runs_is_that_of_the_stream_in_its_order(
    pipeline_a: VampPipeline, choices: dict[str, Any], drawing_steps: int, items: int
) -> None:
    parts, steps = pipeline_a.components, 5
    model = parts.transformer("coarse")
    positions, entries = 9 * (model.n_codebooks - model.n_conditioning_codebooks), 96
    codes = np.full((2, model.n_codebooks, 9), model.mask_token)
    assert entries == model.mask_token

    def generated(noise: Any) -> np.ndarray:
        chosen = generation_settings(steps=steps, **choices)
        sampler = parts.session("sampler")
        return generate(model, sampler, codes, None, settings=chosen, noise=noise)

    ahead, drawn = PhiloxNoise(3), list[np.ndarray]()
    for step in range(steps):
        if step < drawing_steps:
            drawn.append(ahead.exponential((items * positions, entries)))
        drawn.append(ahead.uniform((items, positions)))
    behind = PhiloxNoise(3)
    np.testing.assert_array_equal(generated(behind), generated(Drawn(drawn)))
    # Nothing was drawn that no step takes: whoever draws next goes on where it would.
    np.testing.assert_array_equal(behind.uniform((7,)), ahead.uniform((7,)))


class _Meeting(PhiloxNoise):
    """Noise that waits for the network to run beside it."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.barrier = Barrier(2, timeout=60)

    def exponential(self, shape: tuple[int, ...]) -> np.ndarray:
        self.barrier.wait()
        return super().exponential(shape)


def test_noise_is_drawn_while_the_network_runs(pipeline_a: VampPipeline) -> None:
    model, noise = pipeline_a.components.transformer("coarse"), _Meeting(0)

    class Waiting(Transformer):
        def logits(self, codes: np.ndarray) -> np.ndarray:
            noise.barrier.wait()
            return model.logits(codes)

    waiting = Waiting(**{name: getattr(model, name) for name in vars(model)})
    codes = np.full((1, model.n_codebooks, 9), model.mask_token)
    sampler, chosen = pipeline_a.components.session("sampler"), generation_settings(steps=3)
    found = generate(waiting, sampler, codes, None, settings=chosen, noise=noise)
    expected = generate(model, sampler, codes, None, settings=chosen, noise=PhiloxNoise(0))
    np.testing.assert_array_equal(found, expected)


def test_what_goes_wrong_with_the_noise_is_told(pipeline_a: VampPipeline) -> None:
    class Failing(PhiloxNoise):
        def uniform(self, shape: tuple[int, ...]) -> np.ndarray:
            raise InputError("no noise left")

    codes = codes_for(pipeline_a)
    with pytest.raises(InputError, match="no noise left"):
        pipeline_a.vamp(codes, np.ones_like(codes), noise=Failing(0))
