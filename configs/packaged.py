"""What comes with the package: the settings in this folder, and checkpoints."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from .errors import InputError

DEMO_SET = "demo"
CLIP = "clip.flac"  # audio of the demo set's kind, in its folder


def shipped(name: str) -> dict[str, Any]:
    """Read one of the TOML files in ``configs/``."""
    file = resources.files("vampnet_onnx.configs").joinpath(name)
    return tomllib.loads(file.read_text("utf-8"))


def packaged_set(name: str, source: str = "checkpoint.packaged") -> Path:
    """Return the folder of a set of checkpoints that comes with the package.

    Raises:
        InputError: there is none of this name; `source` says what asks for it.
    """
    root = Path(str(resources.files("vampnet_onnx.checkpoints")))
    known = sorted(folder.name for folder in root.iterdir() if (folder / "codec.pth").exists())
    if name not in known:
        raise InputError(
            f"{source}: no checkpoints {name!r} come with the package; there are"
            f" {', '.join(known) or 'none'}"
        )
    return root / name
