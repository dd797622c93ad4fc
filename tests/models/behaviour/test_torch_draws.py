"""models/behaviour/torch_draws.py gives the pipeline the numbers of the published package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.recorded_cases import golden_model
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.presets import preset_names, preset_options
from vampnet_onnx.configs.settings import (
    BeatSettings,
    GenerationSettings,
    MaskSettings,
    VampSettings,
    beat_settings,
    generation_settings,
    mask_settings,
    published_options,
    vamp_settings,
)
from vampnet_onnx.models.behaviour.interface import Part, coarse_to_fine
from vampnet_onnx.models.behaviour.masks import steps_of
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.models.behaviour.torch_draws import TorchDraws
from vampnet_onnx.pipeline.steps.masks import Beats
from vampnet_onnx.pipeline.vamp import VampPipeline

# Made by the published packages under torch 2.13: tests/support/published/record_seed.py
# says how, and test_upstream_worker.py makes it again where they are.
RECORDED = Path(__file__).parents[2] / "support" / "recorded" / "seed_7.npz"


@pytest.mark.parametrize(("handed", "reseed"), [("seed", True), ("once", False)])
def test_a_seed_gives_the_mask_and_the_tokens_of_the_published_package(
    pipeline_a: VampPipeline, handed: str, reseed: bool
) -> None:
    """Three chunks of coarse, six of coarse-to-fine, two feedback steps, two variations."""
    with np.load(RECORDED) as data:
        recorded = dict(data)
    draws = TorchDraws(7)
    mask = pipeline_a.build_mask(
        recorded["codes"],
        mask_settings(
            rand_mask_intensity=0.9, periodic_prompt=5, periodic_prompt_width=3, dropout=0.2
        ),
        seed=7,
        draws=draws,
    )
    np.testing.assert_array_equal(mask, recorded[f"{handed}/mask"])
    settings = vamp_settings(
        generation_settings(steps=3),
        batch_size=2,
        feedback_steps=2,
        reseed=reseed,
        coarse_chunk_s=1.0,
        c2f_chunk_s=0.4,
    )
    for _ in range(2):  # every channel of a clip begins where the mask ended
        made = pipeline_a.vamp(recorded["codes"], mask, settings, noise=draws.of_tokens())
        np.testing.assert_array_equal(made.tokens, recorded[f"{handed}/tokens"])
        np.testing.assert_array_equal(made.masked_tokens, recorded[f"{handed}/masked"])


def test_a_seed_gives_the_mask_of_beats_and_what_is_drawn_after_it(
    pipeline_a: VampPipeline,
) -> None:
    with np.load(RECORDED) as data:
        recorded = dict(data)
    times = (0.1, 0.55, 0.97, 1.38, 1.82, 2.3)
    around = beat_settings(before_beat_s=0.02, after_beat_s=0.05, beat_dropout=0.3)
    draws = TorchDraws(7)
    mask = pipeline_a.build_mask(
        recorded["codes"],
        mask_settings(periodic_prompt=5, periodic_prompt_width=3, dropout=0.2),
        seed=7,
        beats=Beats(times, times[::3], around),
        draws=draws,
    )
    np.testing.assert_array_equal(mask, recorded["beats/mask"])
    settings = vamp_settings(
        generation_settings(steps=3),
        batch_size=2,
        feedback_steps=2,
        coarse_chunk_s=1.0,
        c2f_chunk_s=0.4,
    )
    made = pipeline_a.vamp(recorded["codes"], mask, settings, noise=draws.of_tokens())
    np.testing.assert_array_equal(made.tokens, recorded["beats/tokens"])


def test_fine_codes_alone_are_those_of_the_published_package(
    pipeline_a: VampPipeline, golden_a: GoldenSet
) -> None:
    """Without a mask: from coarse codes, and whatever fine ones are given beside them."""
    with np.load(RECORDED) as data:
        codes, expected = data["codes"], data["fine/tokens"]
    settings = generation_settings(sampling_steps=3, temperature=0.8)
    n = pipeline_a.components.transformer("c2f").n_conditioning_codebooks
    for given in (codes[:, :n], codes):
        noise = TorchDraws(7).of_tokens()
        made = pipeline_a.coarse_to_fine(given, None, settings, noise=noise, chunk_s=0.4)
        np.testing.assert_array_equal(made.tokens, expected)
    chunk = steps_of(0.4, golden_a.models.codec.dims)
    part = Part(golden_model(golden_a, "c2f"), settings, chunk, TorchNoise(7))
    made_in_torch = coarse_to_fine(part, torch.from_numpy(codes[:, :n]))
    np.testing.assert_array_equal(made_in_torch.tokens, expected)


# As tests/support/published/record_app.py has them.
OPTIONS: list[dict[str, Any]] = [
    {},
    {"sampling_steps": 5},
    {"temperature": 0.6},
    {"mask_temperature": 2.5},
    {"typical_filtering": False},
    {"typical_mass": 0.5},
    {"typical_min_tokens": 3},
    {"top_p": 0.7},
    {"sample_cutoff": 0.3},
    {"cfg_guidance": 2.0},
    {"batch_size": 2},
    {"feedback_steps": 3},
    {"time_stretch_factor": 2},
]
BEAT_OPTIONS: list[dict[str, Any]] = [
    {},
    {"before_beat_s": 0.05},
    {"after_beat_s": 0.1},
    {"mask_upbeats": False},
    {"mask_downbeats": False},
    {"beat_downsample_factor": 2},
    {"downbeat_downsample_factor": 2},
    {"after_beat_s": 0.2, "beat_dropout": 0.4},
    {"beat_invert": False},
    {
        **{"before_beat_s": 0.03, "after_beat_s": 0.05},
        **{"beat_dropout": 0.2, "beat_downsample_factor": 3},
    },
]
BEATS = (0.0, 0.02, 0.3, 0.55, 0.97, 1.38, 1.82, 2.3)
CHUNKS = {"coarse_chunk_size_s": 1.0, "coarse2fine_chunk_size_s": 0.4}


@pytest.fixture(scope="module")
def app() -> dict[str, np.ndarray]:
    """What the published app and interface made, by record_app.py under torch 2.13."""
    with np.load(RECORDED.with_name("app.npz")) as data:
        return dict(data)


def chosen(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name in published_options(kind)}


@pytest.mark.parametrize("preset", [n for n in preset_names() if n != "unconditional"])
def test_a_preset_gives_the_mask_and_the_tokens_of_the_app(
    pipeline_a: VampPipeline, app: dict[str, np.ndarray], preset: str
) -> None:
    """From the audio on; two variations, three chunks of coarse, six of coarse-to-fine."""
    options = preset_options(preset)
    around = chosen(BeatSettings, options)

    def followed(_seconds: float) -> Beats:
        return Beats(BEATS, BEATS[1::3], beat_settings(**around))

    prepared = pipeline_a.prepare((app["app/audio"] / 32767)[None, None], 8000)
    made = pipeline_a.vary(
        prepared,
        seed=7,
        mask=mask_settings(**chosen(MaskSettings, options)),
        settings=vamp_settings(
            generation_settings(**chosen(GenerationSettings, options)),
            **chosen(VampSettings, options),
            **CHUNKS,
        ),
        noise=TorchDraws,
        beats=followed if around else None,
    )
    np.testing.assert_array_equal(made.codes, app["app/codes"])
    np.testing.assert_array_equal(made.mask, app[f"{preset}/mask"])
    np.testing.assert_array_equal(made.tokens[:, 0], app[f"{preset}/tokens"])


@pytest.mark.parametrize("number", range(len(OPTIONS)), ids=lambda n: "-".join(OPTIONS[n]))
def test_an_option_under_its_published_name_gives_the_tokens_of_the_interface(
    pipeline_a: VampPipeline, app: dict[str, np.ndarray], number: int
) -> None:
    options = {"sampling_steps": 3, **OPTIONS[number]}
    settings = vamp_settings(
        generation_settings(**chosen(GenerationSettings, options)),
        **chosen(VampSettings, options),
        **CHUNKS,
        reseed=True,
    )
    noise = TorchDraws(7).of_tokens()
    codes, mask = (app[name].astype(np.int64) for name in ("app/codes", "options/mask"))
    made = pipeline_a.vamp(codes, mask, settings, noise=noise)
    np.testing.assert_array_equal(made.tokens, app[f"options/{number}"])


@pytest.mark.parametrize("number", range(len(BEAT_OPTIONS)))
def test_an_option_of_beats_gives_the_mask_of_the_interface(
    pipeline_a: VampPipeline, app: dict[str, np.ndarray], number: int
) -> None:
    around = beat_settings(**BEAT_OPTIONS[number])
    mask = pipeline_a.build_mask(
        app["app/codes"].astype(np.int64),
        mask_settings(periodic_prompt=0, dropout=0.1),
        seed=7,
        beats=Beats(BEATS, BEATS[1::3], around),
        draws=TorchDraws(7),
    )
    np.testing.assert_array_equal(mask, app[f"beats/{number}"])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    draws = TorchDraws(7)
    draws.of_mask((1, 2, 30), mask_settings(dropout=0.5))
    noise = draws.of_tokens()
    noise.exponential((3, 5))
    noise.restart()
    assert torch.equal(torch.rand(4), expected)


def test_noise_of_no_seed_has_nowhere_to_go_back_to() -> None:
    with pytest.raises(ValueError, match="no seed of ours"):
        TorchNoise().restart()


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(InputError, match="outside 0 to"):
        TorchDraws(seed)
