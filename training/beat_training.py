"""Training of the beat tracker: to tell in which frames the beats of pieces lie.

Source: Steinmetz and Reiss, "WaveBeat" (2021), for the network.  Here each style also comes at
more tempi than the codec hears, so that what is learnt is a beat and not a tempo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.models import TrackerDims, WaveBeat
from vampnet_onnx.models.behaviour.beats import beat_logits
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state

from .music import beats, piece
from .optimise import Progress, device, optimise
from .recipe import TrackerStage
from .styles import STYLES, Style

_BESIDE = 0.5  # how much of a beat the frames next to it are


def tracked_styles(stage: TrackerStage) -> list[Style]:
    """Return the styles of a stage, at tempi from the slowest of each to its fastest."""
    return [at_tempi(STYLES[name], stage.tempi) for name in stage.styles]


def at_tempi(style: Style, count: int) -> Style:
    """Return a style at other tempi: evenly spread from its fastest to its slowest."""
    fastest, slowest = min(style.ticks_s), max(style.ticks_s)
    spread = np.linspace(fastest, slowest, count)
    return replace(style, ticks_s=tuple(spread.tolist()))


def beat_targets(times: Sequence[Sequence[float]], dims: TrackerDims, frames: int) -> Tensor:
    """Return what to say of beats and downbeats (in seconds), float32 [2, frames]."""
    wanted = torch.zeros(len(times), frames + 2)
    for row, own in zip(wanted, times, strict=True):
        at = torch.tensor([round(time * dims.frame_rate) for time in own])
        at = at[at < frames] + 1
        row[at - 1] = row[at + 1] = _BESIDE
        row[at] = 1
    return wanted[:, 1:-1]


def balanced_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the cross-entropy of frames, of those with a beat as much as of those without.

    Args:
        logits: float32 [B, 2, frames].
        wanted: probabilities of the same shape.
    """
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return sum(  # type: ignore[return-value]
        ((losses * share).sum((0, 2)) / share.sum((0, 2)).clamp(min=1)).mean()
        for share in (wanted, 1 - wanted)
    )


def train_tracker(
    dims: TrackerDims, stage: TrackerStage, *, seconds: float, progress: Progress
) -> tuple[WaveBeat, list[float]]:
    """Train a beat tracker from scratch.

    Args:
        dims: of the network.
        stage: its training.
        seconds: that a piece lasts.
        progress: told of every 25 steps.

    Returns:
        The tracker, on the CPU, and its loss curve.
    """
    generator = torch.Generator().manual_seed(stage.seed)
    frames = int(seconds * dims.frame_rate)
    rate, samples = dims.audio_sample_rate, frames * dims.frame_samples
    wanted = [(style, seed) for style in tracked_styles(stage) for seed in range(stage.clips)]
    audio = torch.stack(
        [
            torch.from_numpy(piece(style, seed, seconds=samples / rate, rate=rate))
            for style, seed in wanted
        ]
    )
    targets = torch.stack(
        [beat_targets(beats(*one, seconds=seconds), dims, frames) for one in wanted]
    )
    model = WaveBeat(dims)
    model.load_state_dict(random_state(model, generator))
    trained = with_batch_statistics(model).to(device())

    def loss(_step: int) -> Tensor:
        items = torch.randint(len(wanted), (stage.batch,), generator=generator).tolist()
        last = frames - stage.segment_frames
        starts = torch.randint(last + 1, (stage.batch,), generator=generator).tolist()
        length, frame = stage.segment_frames, dims.frame_samples
        heard, said = [], []
        for item, start in zip(items, starts, strict=True):
            heard.append(audio[item, None, start * frame : (start + length) * frame])
            said.append(targets[item, :, start : start + length])
        logits = beat_logits(torch.stack(heard).to(device()), trained)
        return balanced_loss(logits, torch.stack(said).to(device()))

    curve = optimise({1.0: trained.parameters()}, loss, stage, progress=progress)
    state = trained.cpu().state_dict()
    model = WaveBeat(dims)
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    return model.eval().requires_grad_(False), curve


def with_batch_statistics(model: WaveBeat) -> WaveBeat:
    """Give a tracker norms that see a batch, as long as it is trained; names stay."""
    for block in model.blocks:
        for name in ("norm1", "res_norm"):
            norm = getattr(block, name)
            learning = nn.BatchNorm1d(len(norm.weight))
            learning.load_state_dict(norm.state_dict(), strict=False)  # no count of batches
            setattr(block, name, learning)
    return model
