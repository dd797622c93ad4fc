"""A codec that starts as a lapped transform."""

from __future__ import annotations

import pytest
import torch

from tests.support.untrained import nano_codec
from training.lapped_start import lapped_basis, start_lapped
from training.quality import si_sdr


@pytest.mark.parametrize(
    "rates, widths",
    [(([4], [4]), (3, 10)), (([2, 4], [4, 2]), (4, 32)), (([4, 2, 2], [8, 2]), (4, 32))],
)
def test_a_codec_starts_by_giving_audio_back(
    rates: tuple[list[int], list[int]], widths: tuple[int, int]
) -> None:
    codec = nano_codec(
        encoder_rates=rates[0],
        decoder_rates=rates[1],
        encoder_dim=widths[0],
        decoder_dim=widths[1],
    )
    start_lapped(codec)
    hop = codec.dims.hop_length
    audio = 0.1 * torch.randn(2, 1, 50 * hop, generator=torch.Generator().manual_seed(1))
    made = codec.decoder(codec.encoder(audio))
    inner = slice(hop, -hop)  # the windows at the ends have no neighbour
    assert si_sdr(made[..., inner], audio[..., inner]).min() > 20


def test_a_codec_of_few_latents_starts_with_the_low_bands() -> None:
    codec = nano_codec(encoder_dim=4, encoder_rates=[16], decoder_dim=32, decoder_rates=[16])
    start_lapped(codec)
    time = torch.arange(800.0)
    low, high = (0.1 * torch.sin(torch.pi * share * time)[None, None] for share in (0.1, 0.9))
    assert si_sdr(codec.decoder(codec.encoder(low)), low).item() > 15
    assert codec.decoder(codec.encoder(high)).square().mean() < 0.05 * high.square().mean()


def test_a_codec_without_room_for_the_transform_is_refused() -> None:
    codec = nano_codec(encoder_dim=3, encoder_rates=[8, 2], decoder_dim=64, decoder_rates=[16])
    with pytest.raises(ValueError, match="has no room for a transform's 8 x 1"):
        start_lapped(codec)


def test_the_transform_is_orthonormal_and_its_overlaps_cancel() -> None:
    basis = lapped_basis(12, 12)
    first, second = basis[:, :12], basis[:, 12:]
    assert torch.allclose(basis @ basis.t(), torch.eye(12), atol=1e-6)
    assert torch.allclose(first @ second.t(), torch.zeros(12, 12), atol=1e-6)
