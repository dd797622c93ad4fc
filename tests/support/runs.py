"""Folders as the published trainer leaves them, of weights that are there."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.checkpoint_files import content_of, lora_of, saved

PREFIX = "_orig_mod."


def training_run(
    folder: Path, run: Path, *, tags: tuple[str, ...] = ("latest",), lora: str = ""
) -> Path:
    """Lay out a run; `lora` beside coarse's weights: their ``own`` tensors, or ``other``."""
    for name in ("coarse", "c2f"):
        for tag in tags:
            weights = run / name / tag / "vampnet" / "weights.pth"
            weights.parent.mkdir(parents=True)
            shutil.copy(folder / f"{name}.pth", weights)
    if lora:
        own = content_of(folder, "coarse")["state_dict"]
        state = (
            {key: own[key] for key in lora_of(folder)} if lora == "own" else lora_of(folder)
        )
        for tag in tags:
            behind = {f"{PREFIX}{key}": value for key, value in state.items()}
            saved(behind, run / "coarse" / tag / "lora.pth")
    return run
