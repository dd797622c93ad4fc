"""What the demo weights are worth, measured on pieces that no training has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vampnet_onnx.configs.names import TRACKER, TRANSFORMERS
from vampnet_onnx.models import (
    LAC,
    ResidualVectorQuantize,
    VampNet,
    WaveBeat,
    load_vampnet,
    read_checkpoint,
    read_lora,
)
from vampnet_onnx.models.behaviour.beats import beat_logits
from vampnet_onnx.models.checkpoints.tracker import load_tracker, read_tracker
from vampnet_onnx.pipeline.steps.beats import beat_times

from .beat_training import at_tempi
from .corpus import AT_ONCE, prepared_pieces
from .music import beats, piece
from .recipe import Recipe
from .spectra import log_mel, magnitudes
from .stages import lora_file, open_codec, piece_codes
from .styles import STYLES, Style
from .token_training import masked_cross_entropy, random_masks

_WINDOW, _BANDS = 1024, 64
_NEAR = 0.07  # seconds from a beat within which it counts as found


@dataclass(frozen=True)
class CodecQuality:
    """How well the codec gives back what it was given.

    Attributes:
        mel_distance: mean absolute difference of log10 mel spectra (64 bands, 1024 samples).
        si_sdr_db: scale-invariant signal-to-distortion ratio, mean of the pieces.
        codebook_usage: share of each codebook's entries that occurs at all.
    """

    mel_distance: float
    si_sdr_db: float
    codebook_usage: tuple[float, ...]


@dataclass(frozen=True)
class TokenQuality:
    """How well a transformer predicts masked codes.

    Attributes:
        cross_entropy: of a masked code, nats, at training's distribution of masks.
        unigram_entropy: of a code by how often each occurs, nats, mean of the codebooks.
        reduction: by which share the first is below the second.
    """

    cross_entropy: float
    unigram_entropy: float
    reduction: float


@dataclass(frozen=True)
class LoraQuality:
    """What a fine-tune gains on its style.

    Attributes:
        cross_entropy_before: of the base, nats.
        cross_entropy_after: with the update.
    """

    cross_entropy_before: float
    cross_entropy_after: float


@dataclass(frozen=True)
class BeatQuality:
    """How well beats are found, as F-measure within 70 ms, mean of the pieces.

    Attributes:
        beats: of all beats.
        downbeats: of the first of each bar.
    """

    beats: float
    downbeats: float


@dataclass(frozen=True)
class Quality:
    """All of it.

    Attributes:
        clips: held-out pieces of each style it was measured on.
        codec: the codec's.
        transformers: by name.
        lora: of the fine-tune, by transformer; empty where there is none.
        wavebeat: of the beat tracker, by style; empty where there is none.
    """

    clips: int
    codec: CodecQuality
    transformers: dict[str, TokenQuality]
    lora: dict[str, LoraQuality]
    wavebeat: dict[str, BeatQuality]


def measure(folder: Path, recipe: Recipe, *, clips: int) -> Quality:
    """Measure a folder of checkpoints on held-out pieces.

    Args:
        folder: with codec, both transformers and perhaps a fine-tune.
        recipe: it was made with.
        clips: how many pieces.

    Raises:
        InputError: a checkpoint is missing or damaged.
    """
    codec = open_codec(folder)
    transformers, lora = {}, {}
    for name in TRANSFORMERS:
        checkpoint = read_checkpoint(folder / f"{name}.pth")
        model = load_vampnet(checkpoint)
        codes = _held_out(codec, getattr(recipe, name).styles, recipe, clips)
        transformers[name] = token_quality(model, codec.quantizer, codes)
        overlay = lora_file(folder, recipe.lora.styles[0], name)
        if overlay.exists():
            codes = _held_out(codec, recipe.lora.styles, recipe, clips)
            tuned = load_vampnet(checkpoint, lora=read_lora(overlay))
            lora[name] = LoraQuality(
                token_quality(model, codec.quantizer, codes).cross_entropy,
                token_quality(tuned, codec.quantizer, codes).cross_entropy,
            )
    tracked: dict[str, BeatQuality] = {}
    if (file := folder / f"{TRACKER}.pth").exists():
        tracker = load_tracker(read_tracker(file))
        seconds = recipe.frames * codec.dims.hop_length / codec.dims.sample_rate
        seeds = range(recipe.first_held_out, recipe.first_held_out + clips)
        for name in recipe.wavebeat.styles:
            # At tempi between those that it learnt from.
            style = at_tempi(STYLES[name], recipe.wavebeat.tempi - 1)
            tracked[name] = beat_quality(tracker, style, seeds, seconds=seconds)
    codes = _held_out(codec, recipe.codec.styles, recipe, clips)
    quality = codec_quality(codec, codes, recipe)
    return Quality(clips, quality, transformers, lora, tracked)


@torch.no_grad()
def codec_quality(codec: LAC, codes: Tensor, recipe: Recipe) -> CodecQuality:
    """Measure a codec on held-out pieces of the styles it was trained on.

    Args:
        codec: to measure.
        codes: that it gives them, int64 [pieces, codebooks, frames].
        recipe: for the pieces.
    """
    distances, ratios = [], []
    rate = codec.dims.sample_rate
    styles = recipe.codec.styles
    clips = len(codes) // len(styles)
    seeds = range(recipe.first_held_out, recipe.first_held_out + clips)
    pieces = prepared_pieces(styles, seeds, frames=recipe.frames, dims=codec.dims)
    for audio, own in zip(pieces, codes.split(AT_ONCE), strict=True):
        made = codec.decode_codes(own)
        distances.append((mel(made, rate) - mel(audio, rate)).abs().mean((1, 2)))
        ratios.append(si_sdr(made, audio))
    used = [len(codes[:, book].unique()) for book in range(codes.shape[1])]
    return CodecQuality(
        mel_distance=_mean(torch.cat(distances)),
        si_sdr_db=_mean(torch.cat(ratios)),
        codebook_usage=tuple(round(n / codec.dims.codebook_size, 3) for n in used),
    )


@torch.no_grad()
def token_quality(
    model: VampNet, quantizer: ResidualVectorQuantize, codes: Tensor
) -> TokenQuality:
    """Measure a transformer on codes (int64 [clips, codebooks, frames])."""
    own = codes[:, : model.dims.n_codebooks]
    generator = torch.Generator().manual_seed(0)
    masks = random_masks(own, model.dims.n_conditioning_codebooks, generator)
    losses = [
        masked_cross_entropy(model, quantizer, some, mask)
        for some, mask in zip(own.split(AT_ONCE), masks.split(AT_ONCE), strict=True)
    ]
    cross_entropy = _mean(torch.cat(losses))
    predicted = own[:, model.dims.n_conditioning_codebooks :]
    unigram = _mean(torch.stack([_entropy(book) for book in predicted.unbind(1)]))
    return TokenQuality(cross_entropy, unigram, round(1 - cross_entropy / unigram, 4))


@torch.no_grad()
def beat_quality(
    tracker: WaveBeat, style: Style, seeds: Sequence[int], *, seconds: float
) -> BeatQuality:
    """Measure a beat tracker on pieces of a style."""
    dims, found = tracker.dims, []
    for seed in seeds:
        samples = piece(style, seed, seconds=seconds, rate=dims.audio_sample_rate)
        logits = beat_logits(torch.from_numpy(samples)[None, None], tracker)[0].numpy()
        heard, known = beat_times(logits, dims.frame_rate), beats(style, seed, seconds=seconds)
        found.append([f_measure(*both) for both in zip(heard, known, strict=True)])
    return BeatQuality(*(_mean(column) for column in torch.tensor(found).unbind(1)))


def f_measure(found: Sequence[float], known: Sequence[float]) -> float:
    """Return the F-measure of beats found within 70 ms of known ones, both in order.

    A beat counts once; taking the earliest that is near pairs as many as can be.
    """
    hits = 0
    left = list(known)
    for time in found:
        while left and left[0] < time - _NEAR:
            left.pop(0)
        if left and left[0] <= time + _NEAR:
            left.pop(0)
            hits += 1
    return 2 * hits / max(len(found) + len(known), 1)


def mel(audio: Tensor, rate: int) -> Tensor:
    """Return the log10 mel spectrum of audio (float32 [B, 1, samples]): [B, bands, T]."""
    return log_mel(magnitudes(audio, _WINDOW), _BANDS, rate)


def si_sdr(made: Tensor, audio: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio in dB, float32 [B].

    Source: Le Roux et al., "SDR - half-baked or well done?" (2019).

    Args:
        made: estimate, float32 [B, 1, samples].
        audio: what it should be, of the same shape.
    """
    estimate, target = (x[:, 0] - x[:, 0].mean(-1, keepdim=True) for x in (made, audio))
    scale = (estimate * target).sum(-1) / target.square().sum(-1)
    projected = scale[:, None] * target
    noise = (estimate - projected).square().sum(-1)
    return 10 * (projected.square().sum(-1) / noise).log10()


def _held_out(codec: LAC, styles: Sequence[str], recipe: Recipe, clips: int) -> Tensor:
    return piece_codes(codec, styles, recipe, clips=clips, first_seed=recipe.first_held_out)


def _entropy(codes: Tensor) -> Tensor:
    counts = codes.flatten().bincount()
    shares = counts[counts > 0] / codes.numel()
    return -(shares * shares.log()).sum()


def _mean(values: Tensor) -> float:
    return round(values.double().mean().item(), 4)
