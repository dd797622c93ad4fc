"""Golden sets with few cases, and with something changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.sets import GOLDEN


def small_set(folder: Path, *, keep: tuple[str, ...], change: Any = None) -> Path:
    """Copy set a with the arrays of some cases only, changed by a function."""
    folder.mkdir()
    for name in ("codec.pth", "coarse.pth", "c2f.pth"):
        shutil.copy(GOLDEN / "a" / name, folder)
    with np.load(GOLDEN / "a" / "reference.npz") as data:
        arrays = {key: data[key] for key in data.files if key.startswith(keep)}
    header = json.loads((GOLDEN / "a" / "reference.json").read_text())
    header["cases"] = {k: v for k, v in header["cases"].items() if k.startswith(keep)}
    if change is not None:
        change(arrays, header)
    np.savez(folder / "reference.npz", **arrays)
    (folder / "reference.json").write_text(json.dumps(header))
    return folder
