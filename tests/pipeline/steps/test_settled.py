"""What steps settled, seen at the sampler."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.support.pipeline_inputs import codes_for
from vampnet_onnx.configs.settings import generation_settings, vamp_settings
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.steps.settled import WatchedSampler, joined_settled
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.session import Graph


class Kept(WatchedSampler):
    """Keeps the scores of every step, too."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        logits = inputs["logits"].astype(np.float64)
        scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        self.scores = [*getattr(self, "scores", []), scores]
        return super().run(inputs)


def test_every_masked_code_is_settled_once_at_its_probability(
    pipeline_a: VampPipeline,
) -> None:
    codes = codes_for(pipeline_a)
    mask = np.ones_like(codes)
    mask[:, :, ::7] = 0
    watched: list[Kept] = []

    def watch(sampler: Graph) -> Graph:
        watched.append(Kept(sampler))
        return watched[-1]

    def vamped(**more: object) -> np.ndarray:
        settings = vamp_settings(
            generation_settings(steps=4), coarse_chunk_s=0.16, feedback_steps=2
        )
        noise = PhiloxNoise(0)
        return pipeline_a.vamp(codes, mask, settings, noise=noise, **more).tokens

    np.testing.assert_array_equal(vamped(watch=watch), vamped())
    (sampler,) = watched
    chunks, rounds = 2, 2
    assert [part.steps for part in sampler.made] == [4] * chunks * rounds + [2]
    coarse = joined_settled(sampler.made[2:4], 40)
    kept = mask[0, : len(coarse.step)] == 0
    kept[:, [0, 19, 20, 39]] = True  # the edges of chunks
    np.testing.assert_array_equal(coarse.step < 0, kept)
    np.testing.assert_array_equal(np.isnan(coarse.log_probability), kept)
    assert set(coarse.step[~kept].tolist()) == {0, 1, 2, 3}
    # The last chunk of the last round: what was drawn at each step is what the step left.
    tokens = vamped()[0, : len(coarse.step), 20:]
    scores = sampler.scores[3 * 4 : 4 * 4]
    for book, time in zip(*np.nonzero(~kept[:, 20:]), strict=True):
        step = coarse.step[book, 20 + time]
        position = time * len(coarse.step) + book
        expected = scores[step][0, tokens[book, time], position]
        found = coarse.log_probability[book, 20 + time]
        np.testing.assert_allclose(found, expected, atol=1e-3)
