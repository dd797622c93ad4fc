"""A recipe that trains a nano set in seconds."""

from __future__ import annotations

from typing import Any

from tests.support.sets import NANO
from training.recipe import Recipe, load_recipe

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


TRACKER = {
    "audio_sample_rate": 4000,
    "kernel_size": 5,
    "channels": [3, 4, 5, 6, 7],
    "dilation_growth": 4,
    "stack_size": 3,
}

TINY = {
    **NANO,
    "codec": {**NANO["codec"], "quantizer_dropout": 0.5},
    "wavebeat": TRACKER,
}


def nano_recipe(**changed: Any) -> Recipe:
    values = load_recipe().model_dump() | {"size": "nano", "frames": 2000}
    values |= {
        "codec": {**STAGE, "segment_frames": 500, "steps": 100, "learning_rate": 1e-2},
        "coarse": STAGE,
        "c2f": STAGE,
    }
    values |= {"lora": {**STAGE, "styles": ["music-box"], "rank": 2}}
    values |= {"wavebeat": {**STAGE, "tempi": 3}}
    return Recipe(**{**values, **changed})


def silent(_done: int, _total: int, _loss: float) -> None:
    pass
