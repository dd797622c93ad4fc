"""Training: losses fall, codebooks live, and what is written is a checkpoint set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread

from tests.support.sets import NANO
from training import recipe as recipe_module
from training import stages
from training.corpus import encoded_pieces, prepared_pieces, random_segments
from training.curves import plot_curves
from training.lapped_start import lapped_basis, start_lapped
from training.optimise import rate_factor
from training.quality import measure, si_sdr, token_quality
from training.quantiser import QuantiserTraining, _turned, fit_books
from training.recipe import LoraStage, Recipe, Stage, load_recipe
from training.stages import STAGES, lora_file, train_stage
from training.token_training import random_masks
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import (
    LAC,
    CodecDims,
    VampNet,
    VampNetDims,
    check_set,
    load_vampnet,
    open_models,
    read_checkpoint,
)
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state

STAGE = {
    "styles": ["ensemble"],
    "seed": 0,
    "clips": 4,
    "segment_frames": 64,
    "batch": 2,
    "steps": 50,
    "warmup": 5,
    "learning_rate": 3e-3,
}
TINY = {**NANO, "codec": {**NANO["codec"], "quantizer_dropout": 0.5}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano set, trained for some seconds on pieces of a second."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "sizes", lambda: {"nano": TINY})
        for stage in STAGES:
            train_stage(folder, stage, nano_recipe(), progress=silent)
    return folder


def nano_recipe(**changed: Any) -> Recipe:
    values = load_recipe().model_dump() | {"size": "nano", "frames": 2000}
    values |= {
        "codec": {**STAGE, "segment_frames": 500, "steps": 100, "learning_rate": 1e-2},
        "coarse": STAGE,
        "c2f": STAGE,
    }
    values |= {"lora": {**STAGE, "styles": ["music-box"], "rank": 2}}
    return Recipe(**{**values, **changed})


def silent(_done: int, _total: int, _loss: float) -> None:
    pass


def losses(folder: Path, name: str) -> list[float]:
    return json.loads((folder / "losses" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", ["codec", "coarse", "c2f"])
def test_the_loss_falls(trained: Path, name: str) -> None:
    first, *_, last = losses(trained, name)
    assert last < 0.98 * first


def test_a_fine_tune_lowers_the_loss_on_its_style(trained: Path) -> None:
    quality = measure(trained, nano_recipe(), clips=2)
    for lora in quality.lora.values():
        assert lora.cross_entropy_after < lora.cross_entropy_before
    assert set(quality.lora) == set(quality.transformers) == {"coarse", "c2f"}


def test_loss_curves_are_drawn(trained: Path, tmp_path: Path) -> None:
    plot_curves(trained, tmp_path / "curves.png")
    five = imread(tmp_path / "curves.png")
    shutil.copytree(trained / "losses", tmp_path / "losses")
    (tmp_path / "losses" / "c2f.json").unlink()
    plot_curves(tmp_path, tmp_path / "curves.png")
    assert imread(tmp_path / "curves.png").shape[1] < five.shape[1]
    with pytest.raises(InputError, match="no loss curves"):
        plot_curves(tmp_path / "none", tmp_path / "curves.png")


def test_what_is_written_is_a_whole_set_that_is_not_labelled_as_random(trained: Path) -> None:
    assert check_set(trained) == ["codec", "coarse", "c2f"]
    models = open_models(trained)
    assert not models.random_weights
    content = torch.load(trained / "codec.pth", weights_only=True)
    assert content["metadata"]["kwargs"] == TINY["codec"]
    assert "from scratch" in content["metadata"]["trained"]


def test_a_fine_tune_is_a_lora_file_of_its_transformer(trained: Path) -> None:
    path = lora_file(trained, "music-box", "c2f")
    model = load_vampnet(read_checkpoint(trained / "c2f.pth"), lora=path)
    base = load_vampnet(read_checkpoint(trained / "c2f.pth"))
    latents = torch.randn(1, 15, 7, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(model(latents), base(latents))


def test_training_again_gives_the_same_weights(trained: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "sizes", lambda: {"nano": TINY})
        (tmp_path / "codec.pth").write_bytes((trained / "codec.pth").read_bytes())
        train_stage(tmp_path, "coarse", nano_recipe(), progress=silent)
    states = [
        torch.load(f / "coarse.pth", weights_only=True)["state_dict"]
        for f in (trained, tmp_path)
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_stage_whose_files_are_there_is_not_trained_again(trained: Path) -> None:
    before = (trained / "codec.pth").stat().st_mtime_ns
    train_stage(trained, "codec", nano_recipe(), progress=silent)
    assert (trained / "codec.pth").stat().st_mtime_ns == before


def test_the_learning_rate_rises_and_falls() -> None:
    stage = Stage(**STAGE)
    factors = [rate_factor(step, stage) for step in range(stage.steps)]
    assert factors[0] == 0.2 and max(factors) == 1.0 and factors[-1] < 0.01


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


def test_masks_leave_conditioning_alone_and_have_ratios_of_their_own() -> None:
    codes = torch.zeros(200, 4, 50, dtype=torch.int64)
    masks = random_masks(codes, 2, torch.Generator().manual_seed(0))
    assert masks[:, :2].sum() == 0
    ratios = masks[:, 2:].float().mean((1, 2))
    assert ratios.min() < 0.1 and ratios.max() > 0.95
    assert abs(ratios.mean() - 2 / torch.pi) < 0.05  # of cos(r pi / 2) with r uniform


def quantiser() -> tuple[LAC, QuantiserTraining]:
    codec = nano_codec()
    generator = torch.Generator().manual_seed(0)
    return codec, QuantiserTraining(codec.quantizer, generator, dropout=0.0, settle=10_000)


def nano_codec(**changed: Any) -> LAC:
    codec = LAC(CodecDims.from_kwargs(NANO["codec"] | changed, "nano"))
    codec.load_state_dict(random_state(codec, torch.Generator().manual_seed(0)))
    return codec.requires_grad_(False)


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


def test_si_sdr_of_a_known_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(1, 1, 100_000, generator=generator)
    noise = torch.randn(1, 1, 100_000, generator=generator)
    assert si_sdr(3 * (audio + 0.1 * noise), audio).item() == pytest.approx(20, abs=0.1)


def test_a_model_that_knows_nothing_has_the_entropy_of_all_entries() -> None:
    codec, _ = quantiser()
    model = VampNet(VampNetDims.from_kwargs(NANO["coarse"], "nano"), rank=0)
    model.classifier.layers[0].weight_g.data.zero_()
    codes = torch.randint(11, (4, 3, 60), generator=torch.Generator().manual_seed(0))
    found = token_quality(model.eval(), codec.quantizer, codes)
    assert found.cross_entropy == pytest.approx(torch.tensor(11.0).log().item(), abs=1e-3)
    assert abs(found.reduction) < 0.03


def test_pieces_reach_the_codec_as_prepared_audio() -> None:
    codec, _ = quantiser()
    audio = next(prepared_pieces(["band"], range(2), frames=500, dims=codec.dims))
    assert audio.shape == (2, 1, 500 * 4) and audio.abs().max() <= 1
    codes = encoded_pieces(codec, ["band"], range(2), frames=500)
    assert torch.equal(codes, codec.encode(audio).codes)


def test_the_shipped_recipe_keeps_held_out_pieces_apart() -> None:
    recipe = load_recipe()
    used = [recipe.codec, recipe.coarse, recipe.c2f, recipe.lora]
    assert all(stage.clips <= recipe.first_held_out for stage in used)
    assert recipe.clip.seed >= recipe.first_held_out
    assert isinstance(recipe.lora, LoraStage) and recipe_module.load_recipe() == recipe
