"""Training of the quantiser: gradients, commitment, living entries."""

from __future__ import annotations

import pytest
import torch

from tests.support.untrained import nano_codec, quantiser
from training.quantiser import QuantiserTraining, _turned, fit_books


def test_training_quantises_as_the_codec_does() -> None:
    codec, training = quantiser()
    encoded = torch.randn(2, 6, 30, generator=torch.Generator().manual_seed(1))
    expected = codec.quantizer(encoded).z
    assert torch.allclose(training(encoded).z, expected, atol=1e-6)


def test_gradients_pass_through_the_choice_of_entries() -> None:
    _, training = quantiser()
    encoded = torch.randn(2, 6, 30, requires_grad=True)
    training(encoded).z.sum().backward()
    assert encoded.grad is not None and encoded.grad.abs().min() > 0


def test_gradients_turn_a_latent_and_leave_its_length() -> None:
    latents = torch.randn(2, 5, 30, requires_grad=True)
    weight = torch.randn(2, 5, 30)
    turned = _turned(latents)
    (turned * weight).sum().backward()
    assert torch.allclose(turned, latents, atol=1e-6) and latents.grad is not None
    along = (latents * latents.grad).sum(1)
    assert along.abs().max() < 1e-4 and latents.grad.norm(dim=1).min() > 0


def test_the_commitment_turns_latents_and_leaves_their_length() -> None:
    codec = nano_codec(n_codebooks=1)
    codec.quantizer.book(0).in_proj.bias.zero_()
    training = QuantiserTraining(codec.quantizer, torch.Generator(), dropout=0.0, settle=1)
    encoded = torch.randn(2, 6, 30, requires_grad=True)
    training(encoded).loss.backward()
    assert encoded.grad is not None and encoded.grad.norm(dim=1).min() > 0
    along = (encoded * encoded.grad).sum(1)
    assert along.abs().max() < 1e-3 * (encoded.norm(dim=1) * encoded.grad.norm(dim=1)).min()


def test_the_commitment_does_not_depend_on_the_scale() -> None:
    encoded = torch.randn(2, 6, 30, generator=torch.Generator().manual_seed(1))
    losses = []
    for scale in (1.0, 100.0):
        codec = nano_codec()
        for index in range(3):
            book = codec.quantizer.book(index)
            book.in_proj.bias.zero_(), book.out_proj.bias.zero_()
            book.codebook.weight.mul_(scale)
        training = QuantiserTraining(
            codec.quantizer, torch.Generator(), dropout=0.0, settle=10_000
        )
        losses.append(training(scale * encoded).loss.item())
    assert losses[0] > 0.1 and losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_codebooks_start_with_what_earlier_ones_left() -> None:
    codec = nano_codec()
    draw = torch.Generator().manual_seed(1)
    spread = torch.tensor([3.0, 0.01, 2.0, 1.0, 1.5, 2.5])[:, None]
    encoded = spread * torch.randn(4, 6, 200, generator=draw)
    fit_books(codec.quantizer, encoded, draw)
    first = codec.quantizer.book(0)
    assert first.in_proj.weight()[:, 1].abs().max() < 0.02  # the axis with nothing on it
    assert len(first.nearest(first.in_proj(encoded)).unique()) == 11
    left = [1.0]
    for count in (1, 2, 3):
        codes = codec.quantizer(encoded).codes[:, :count]
        missed = encoded - codec.quantizer.from_codes(codes).z
        left.append((missed.square().sum() / encoded.square().sum()).item())
    assert left[1] < 0.6 and left == sorted(left, reverse=True)


def test_entries_become_the_mean_of_what_is_nearest_to_them() -> None:
    codec, training = quantiser()
    encoded = torch.randn(4, 6, 100, generator=torch.Generator().manual_seed(1))
    for _ in range(1500):
        training(encoded)
    book = codec.quantizer.book(0)
    latents = book.in_proj(encoded)
    codes = book.nearest(latents)
    for entry in codes.unique():
        own = latents.transpose(1, 2)[codes == entry]
        assert torch.allclose(book.codebook.weight[entry], own.mean(0), atol=1e-3)


def test_dead_entries_come_back_to_life() -> None:
    codec, training = quantiser()
    encoded = torch.randn(4, 6, 100, generator=torch.Generator().manual_seed(1))
    training(encoded)
    book = codec.quantizer.book(0)
    training._sums[0][:8] = training._sums[0][8]  # all alike: only the first is ever found
    training._counts[0][:8] = training._counts[0][8]
    for _ in range(400):
        training(encoded)
    assert len(book.nearest(book.in_proj(encoded)).unique()) == 11
