"""From the recipe to checkpoint files: codec, transformers, fine-tune, beat tracker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vampnet_onnx.configs.files import is_there, replacing
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.configs.names import CODEC, TRACKER, TRANSFORMERS
from vampnet_onnx.models import (
    LAC,
    CodecDims,
    TrackerDims,
    load_codec,
    load_vampnet,
    read_checkpoint,
)
from vampnet_onnx.models.checkpoints.checkpoint import save_checkpoint, spoken_kwargs
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes
from vampnet_onnx.models.checkpoints.tracker import tracker_content

from .beat_training import train_tracker
from .codec_training import train_codec
from .corpus import encoded_pieces
from .optimise import Progress, device, is_whole
from .recipe import Recipe, Stage
from .token_training import train_lora, train_transformer

LORA = "lora"
LOSSES = "losses"  # folder beside the checkpoints
UNFINISHED = "unfinished"  # the same, of what an interrupt stopped
STAGES = (CODEC, *TRANSFORMERS, LORA, TRACKER)
_NOTE = "from scratch, on procedural music, by the training package of vampnet-onnx"


def train_stage(folder: Path, stage: str, recipe: Recipe, *, progress: Progress) -> None:
    """Train what a stage makes, unless its files are there, and write it with its losses.

    Args:
        folder: of the checkpoints; holds what earlier stages made.
        stage: of `STAGES`.
        recipe: how.
        progress: told steps done, steps in all and the loss of late.

    Raises:
        InputError: an earlier stage is missing, or the folder cannot be written.
        Interrupted: what was trained until then is in a folder of its own.
    """
    if stage == CODEC:
        _train_codec(folder, recipe, progress)
    elif stage == LORA:
        for name in TRANSFORMERS:
            _train_lora(folder, name, recipe, progress)
    elif stage == TRACKER:
        _train_tracker(folder, recipe, progress)
    else:
        _train_transformer(folder, stage, recipe, progress)


def lora_file(folder: Path, style: str, name: str) -> Path:
    """Return where the fine-tune of a transformer for a style is kept."""
    return folder / LORA / f"{style}-{name}.pth"


def piece_codes(
    codec: LAC, styles: Sequence[str], recipe: Recipe, *, clips: int, first_seed: int = 0
) -> Tensor:
    """Return the codes of pieces, int64 [styles * clips, codebooks, frames].

    Args:
        codec: that makes them; moved to the training device and back.
        styles: of the pieces.
        recipe: for their length.
        clips: how many of each style.
        first_seed: of the first piece.
    """
    seeds = range(first_seed, first_seed + clips)
    codes = encoded_pieces(codec.to(device()), styles, seeds, frames=recipe.frames)
    codec.cpu()
    return codes


def open_codec(folder: Path) -> LAC:
    """Load the codec of a folder."""
    return load_codec(read_checkpoint(folder / f"{CODEC}.pth"))


def _train_codec(folder: Path, recipe: Recipe, progress: Progress) -> None:
    target = folder / f"{CODEC}.pth"
    if is_there(target):
        return
    kwargs = sizes()[recipe.size][CODEC]
    codec, curve = train_codec(kwargs, recipe.codec, frames=recipe.frames, progress=progress)
    with _kept(target, folder, CODEC, curve, recipe.codec) as temporary:
        save_checkpoint(_content(CODEC, codec, kwargs), temporary)


def _train_transformer(folder: Path, name: str, recipe: Recipe, progress: Progress) -> None:
    target = folder / f"{name}.pth"
    if is_there(target):
        return
    stage: Stage = getattr(recipe, name)
    codec = open_codec(folder)
    corpus = piece_codes(codec, stage.styles, recipe, clips=stage.clips)
    kwargs = sizes()[recipe.size][name]
    model, curve = train_transformer(kwargs, codec, corpus, stage, progress=progress)
    with _kept(target, folder, name, curve, stage) as temporary:
        save_checkpoint(_content(name, model, kwargs), temporary)


def _train_lora(folder: Path, name: str, recipe: Recipe, progress: Progress) -> None:
    stage = recipe.lora
    target = lora_file(folder, stage.styles[0], name)
    if is_there(target):
        return
    codec = open_codec(folder)
    base = load_vampnet(read_checkpoint(folder / f"{name}.pth"))
    corpus = piece_codes(codec, stage.styles, recipe, clips=stage.clips)
    state, curve = train_lora(base, codec, corpus, stage, progress=progress)
    with _kept(target, folder, f"{LORA}-{name}", curve, stage) as temporary:
        save_checkpoint(state, temporary)


def _train_tracker(folder: Path, recipe: Recipe, progress: Progress) -> None:
    target = folder / f"{TRACKER}.pth"
    if is_there(target):
        return
    known = sizes()[recipe.size]
    dims, stage = TrackerDims(**known[TRACKER]), recipe.wavebeat
    codec = CodecDims.from_kwargs(known[CODEC], "sizes.toml")
    seconds = recipe.frames * codec.hop_length / codec.sample_rate
    model, curve = train_tracker(dims, stage, seconds=seconds, progress=progress)
    with _kept(target, folder, TRACKER, curve, stage) as temporary:
        content = tracker_content(model.state_dict(), dims, {"trained": _NOTE})
        save_checkpoint(content, temporary)


@contextlib.contextmanager
def _kept(
    target: Path, folder: Path, name: str, curve: list[float], stage: Stage
) -> Iterator[Path]:
    """Give the file that a stage's tensors are written to, and write its losses.

    Raises:
        Interrupted: the training was, and what there is of it is kept apart: the stage is not
            done, and the next run begins it anew.
    """
    whole = is_whole(curve, stage)
    root = folder if whole else folder / UNFINISHED
    with replacing(root / target.relative_to(folder)) as temporary:
        yield temporary
    with replacing(root / LOSSES / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(curve) + "\n", "utf-8")
    if not whole:
        raise Interrupted


def _content(name: str, module: nn.Module, kwargs: dict[str, Any]) -> dict[str, Any]:
    return {
        "state_dict": module.state_dict(),
        "metadata": {"kwargs": spoken_kwargs(name, kwargs), "trained": _NOTE},
    }
