"""Segments and pieces for training."""

from __future__ import annotations

import torch

from tests.support.untrained import quantiser
from training.corpus import encoded_pieces, prepared_pieces, random_segments


def test_segments_come_from_everywhere_and_hold_together() -> None:
    data = torch.arange(20).expand(3, 1, 20)
    found = random_segments(
        data, length=10, batch=200, generator=torch.Generator().manual_seed(0)
    )
    assert found.shape == (200, 1, 10) and (found.diff() == 1).all()
    assert set(found[:, 0, 0].tolist()) == set(range(11))


def test_every_other_segment_starts_with_a_frame() -> None:
    data = torch.arange(100).expand(3, 1, 100)
    found = random_segments(
        data, length=10, batch=40, generator=torch.Generator().manual_seed(0), frame=8
    )
    assert (found[::2, 0, 0] % 8 == 0).all() and (found[1::2, 0, 0] % 8 != 0).any()
    assert (found.diff() == 1).all()


def test_pieces_reach_the_codec_as_prepared_audio() -> None:
    codec, _ = quantiser()
    audio = next(prepared_pieces(["band"], range(2), frames=500, dims=codec.dims))
    assert audio.shape == (2, 1, 500 * 4) and audio.abs().max() <= 1
    codes = encoded_pieces(codec, ["band"], range(2), frames=500)
    assert torch.equal(codes, codec.encode(audio).codes)
