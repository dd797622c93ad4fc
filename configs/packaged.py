"""Checkpoints that come with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from .errors import InputError

DEMO_SET = "demo"
CLIP = "clip.flac"  # audio of the demo set's kind, in its folder


def packaged_set(name: str, source: str = "checkpoint.packaged") -> Path:
    """Return the folder of a set of checkpoints that comes with the package.

    Args:
        name: of the set.
        source: what asks for it, for messages.

    Raises:
        InputError: there is none of this name.
    """
    root = Path(str(resources.files("vampnet_onnx.checkpoints")))
    known = sorted(folder.name for folder in root.iterdir() if (folder / "codec.pth").exists())
    if name not in known:
        raise InputError(
            f"{source}: no checkpoints {name!r} come with the package; there are"
            f" {', '.join(known) or 'none'}"
        )
    return root / name
