"""The recipe of the demo weights: every number of their training but the dimensions."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from vampnet_onnx.configs.config import validated

Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Style = Literal["band", "ensemble", "music-box"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stage(_Section):
    """One network's training.

    Attributes:
        styles: of the music, see `training.styles`.
        seed: of its initial weights and of every draw.
        clips: pieces of each style, seeds from 0 up.
        segment_frames: frames a batch item has.
        batch: items a step.
        steps: how many.
        warmup: steps to the full learning rate, which then falls to nothing as a cosine.
        learning_rate: of AdamW, at its height.
    """

    styles: Annotated[tuple[Style, ...], Field(min_length=1)]
    seed: Whole
    clips: Positive
    segment_frames: Positive
    batch: Positive
    steps: Positive
    warmup: Positive
    learning_rate: Annotated[float, Field(gt=0)]


class LoraStage(Stage):
    """A low-rank fine-tune of both transformers.

    Attributes:
        styles: the one that it is for.
        rank: of the update.
    """

    styles: tuple[Style]
    rank: Positive


class TrackerStage(Stage):
    """The beat tracker's training; its frames are the tracker's own.

    Attributes:
        tempi: how many, from the fastest of a style to its slowest.
    """

    tempi: Annotated[int, Field(ge=2)]


class Evaluation(_Section):
    """How quality is measured.

    Attributes:
        clips: held-out pieces.
    """

    clips: Positive


class Clip(_Section):
    """The piece that is shipped.

    Attributes:
        style: of the piece.
        seed: of the piece.
        frames: of the codec it lasts.
    """

    style: Style
    seed: Whole
    frames: Positive


class Recipe(_Section):
    """The whole training.

    Attributes:
        size: dimensions, of ``configs/sizes.toml``.
        frames: codec frames a piece has.
        first_held_out: seed of the first piece that is kept for measuring.
        codec: the codec's training.
        coarse: the coarse transformer's.
        c2f: the coarse-to-fine transformer's.
        lora: the fine-tune.
        wavebeat: the beat tracker's training.
        evaluation: what is measured.
        clip: that is shipped.
    """

    size: str
    frames: Positive
    first_held_out: Positive
    codec: Stage
    coarse: Stage
    c2f: Stage
    lora: LoraStage
    wavebeat: TrackerStage
    evaluation: Evaluation
    clip: Clip


def load_recipe() -> Recipe:
    """Read the shipped recipe."""
    text = resources.files("training").joinpath("recipe.toml").read_text("utf-8")
    return validated(Recipe, tomllib.loads(text), "recipe.toml")
