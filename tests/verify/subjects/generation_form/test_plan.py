"""A batch of many seeds is what the published options give one seed at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.heard import record_for
from vampnet_onnx.configs.settings import vamp_settings
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour import interface
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.codec import codec_of
from vampnet_onnx.verify.subjects.generation_form.plan import excerpts, mask_of
from vampnet_onnx.verify.subjects.generation_form.reference import token_models, vary
from vampnet_onnx.verify.subjects.registry import subject_of


class _Noise:
    def __init__(self, seed: int) -> None:
        self._noise = PhiloxNoise(seed)

    def exponential(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._noise.exponential(shape))

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(self._noise.uniform(shape))


def test_every_item_is_what_its_seed_alone_gives_as_published(models: ModelSet) -> None:
    record, codec = record_for(models), codec_of(models)
    inputs = subject_of(record).inputs(record, Case(record.id, 5, 4, 20, 3))
    assert inputs["seeds"].tolist() == [5, 6, 7, 8]
    parts = token_models(models, fine=True)
    with torch.inference_mode():
        together = vary(record, inputs, codec, parts).tokens
        whole = codec.encode(torch.from_numpy(inputs["audio"])).codes.numpy()
        codes = excerpts(whole, 4, 20)
        settings = vamp_settings(
            c2f_chunk_s=19.5 * codec.dims.hop_length / codec.dims.sample_rate
        )
        for i, seed in enumerate(inputs["seeds"]):
            alone = interface.vamp(
                torch.from_numpy(codes[i : i + 1]),
                torch.from_numpy(mask_of(codes[i : i + 1], 2)),
                coarse=parts["coarse"],
                c2f=parts["c2f"],
                dims=codec.dims,
                settings=settings,
                noise=_Noise(int(seed)),
            )
            np.testing.assert_array_equal(alone.tokens[0], together[i])


@pytest.mark.parametrize("length, frames", [(260, 48), (48, 48), (30, 48)])
def test_excerpts_come_in_pairs_from_start_to_end(length: int, frames: int) -> None:
    codes = np.stack([np.arange(length), np.arange(length) + 1000])[None]
    found = excerpts(codes, 8, frames)
    assert found.shape == (8, 2, frames)
    np.testing.assert_array_equal(found[::2], found[1::2])
    assert found[0, 0, 0] == 0
    assert found[-1, 0, -1] == (length - 1 if length >= frames else (frames - 1) % length)


def test_the_mask_keeps_what_the_published_one_keeps() -> None:
    mask = mask_of(np.zeros((1, 5, 15), np.int64), n_coarse=4)
    assert mask[0, :3].sum(axis=0).tolist() == [0, *[3] * 6, 0, *[3] * 6, 0]
    assert (mask[0, 3:] == 1).all()
