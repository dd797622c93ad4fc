"""Training of the beat tracker: what it should say, and that it becomes a tracker as any."""

from __future__ import annotations

import pytest
import torch

from training.beat_training import at_tempi, balanced_loss, beat_targets, with_batch_statistics
from training.styles import STYLES
from vampnet_onnx.models import TrackerDims, WaveBeat
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state

DIMS = TrackerDims(800, 3, (2, 3, 4), 2, 2)  # 100 frames a second


def test_a_beat_is_a_frame_and_half_of_those_beside_it() -> None:
    wanted = beat_targets(([0.0, 0.031, 0.07, 0.1], [0.07]), DIMS, 9)
    assert wanted.tolist() == [
        [1, 0.5, 0.5, 1, 0.5, 0, 0.5, 1, 0.5],
        [0, 0, 0, 0, 0, 0, 0.5, 1, 0.5],
    ]


def test_tempi_are_spread_from_the_fastest_of_a_style_to_its_slowest() -> None:
    found = at_tempi(STYLES["music-box"], 3)
    assert found.ticks_s == pytest.approx((0.168, 0.192, 0.216))
    assert found.bar == STYLES["music-box"].bar


def test_the_few_frames_with_a_beat_count_as_much_as_all_the_others() -> None:
    wanted = torch.zeros(1, 2, 100)
    wanted[:, :, 7] = 1
    nothing, everything = (torch.full((1, 2, 100), level) for level in (-9.0, 9.0))
    assert balanced_loss(nothing, wanted).item() == pytest.approx(9, abs=0.01)
    assert balanced_loss(everything, wanted).item() == pytest.approx(9, abs=0.01)
    assert balanced_loss(18 * wanted - 9, wanted).item() < 0.01


def test_norms_that_learn_from_a_batch_are_the_trackers_own_afterwards() -> None:
    model = WaveBeat(DIMS)
    model.load_state_dict(random_state(model, torch.Generator().manual_seed(1)))
    audio = torch.randn(3, 1, 200, generator=torch.Generator().manual_seed(2))
    before = model(audio)
    trained = with_batch_statistics(model)
    torch.testing.assert_close(trained.eval()(audio), before)
    trained.train()(audio)  # sees the batch
    state = trained.state_dict()
    again = WaveBeat(DIMS)
    again.load_state_dict({name: state[name] for name in again.state_dict()})
    after = again(audio)
    torch.testing.assert_close(after, trained.eval()(audio))
    assert not torch.allclose(after, before)
