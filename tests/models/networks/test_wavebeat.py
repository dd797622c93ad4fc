"""The beat tracker is the network that the paper describes, of any length."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.support.published_tracker import published_tracker
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state
from vampnet_onnx.models.networks.dims import TrackerDims
from vampnet_onnx.models.networks.wavebeat import WaveBeat

DIMS = TrackerDims(22050, 5, (3, 4, 4), 3, 2)


def tracker(dims: TrackerDims) -> WaveBeat:
    model = WaveBeat(dims).eval().requires_grad_(False)
    model.load_state_dict(random_state(model, torch.Generator().manual_seed(3)))
    return model


@pytest.fixture(scope="module")
def published() -> tuple[dict[str, Tensor], WaveBeat]:
    return published_tracker()


def by_hand(dims: TrackerDims, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """Compute it with torch's own batch norm."""

    def norm(x: Tensor, name: str) -> Tensor:
        seen, learnt = ("running_mean", "running_var"), ("weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{key}"] for key in (*seen, *learnt)))

    for n in range(len(dims.channels)):
        own, wide = f"blocks.{n}", 3 ** (n % 2)
        taps = state[f"{own}.conv1.weight"]
        made = F.conv1d(
            x, taps, state[f"{own}.conv1.bias"], stride=2, dilation=wide, padding=2 * wide
        )
        made = F.prelu(norm(made, f"{own}.norm1"), state[f"{own}.act1.weight"])
        point, aside = state[f"{own}.res_conv.weight"], f"{own}.res_norm"
        beside = F.conv1d(x, point, state[f"{own}.res_conv.bias"], stride=2)
        x = made + norm(beside, aside)
    return F.conv1d(x, state["output.weight"], state["output.bias"])


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 100])
def test_blocks_are_the_papers(samples: int) -> None:
    model = tracker(DIMS)
    audio = torch.randn(2, 1, samples, generator=torch.Generator().manual_seed(samples))
    found = model(audio)
    assert found.shape == (2, 2, -(-samples // 8))
    torch.testing.assert_close(found, by_hand(DIMS, model.state_dict(), audio))


def test_logits_are_those_of_the_published_network(
    published: tuple[dict[str, Tensor], WaveBeat],
) -> None:
    recorded, model = published
    lengths = {key.partition("/")[0] for key in recorded if key.endswith("/logits")}
    assert len(lengths) == 5
    for length in lengths:
        found = model(recorded[f"{length}/audio"])
        torch.testing.assert_close(found, recorded[f"{length}/logits"], rtol=1e-5, atol=1e-6)


def test_frames_count_as_many_seconds_as_their_samples() -> None:
    assert DIMS.frame_samples == 8 and DIMS.frame_rate == 22050 / 8
    assert [DIMS.dilation(n) for n in range(3)] == [1, 3, 1]
