"""Helpers of the checkpoint tests: files with one thing changed, and what refuses them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from vampnet_onnx.configs import manifest as recording
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import load_codec, load_vampnet, read_checkpoint
from vampnet_onnx.models.checkpoints import checkpoint as reading
from vampnet_onnx.models.checkpoints import content as opening

Content = dict[str, Any]
Calls = dict[str, Counter[str]]
LONGEST_MESSAGE = 6000


def content_of(folder: Path, name: str) -> Content:
    return torch.load(folder / f"{name}.pth", weights_only=True)


def saved(content: object, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def with_kwargs(folder: Path, name: str, path: Path, **changed: Any) -> Path:
    content = content_of(folder, name)
    content["metadata"]["kwargs"] = {**content["metadata"]["kwargs"], **changed}
    return saved(content, path)


def load(path: Path) -> object:
    """Load as codec or transformer, told by the file's name."""
    opened = read_checkpoint(path)
    return load_codec(opened) if path.stem == "codec" else load_vampnet(opened)


def refusal(path: Path, action: Callable[[Path], object] = load) -> str:
    with pytest.raises(InputError) as caught:
        action(path)
    message = str(caught.value)
    assert "\n" not in message and 0 < len(message) < LONGEST_MESSAGE
    return message


def copy_of(nano: Path, target: Path) -> Path:
    return Path(shutil.copytree(nano, target))


def audio() -> torch.Tensor:
    return torch.randn(2, 1, 50, generator=torch.Generator().manual_seed(5)) / 4


def lora_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return another LoRA for the coarse model of a folder."""
    draw = torch.Generator().manual_seed(77)
    return {
        key: torch.randn(value.shape, generator=draw)
        for key, value in content_of(folder, "coarse")["state_dict"].items()
        if ".lora_" in key
    }


def plain_coarse(nano: Path, path: Path) -> Path:
    content = content_of(nano, "coarse")
    content["state_dict"] = {
        key: value for key, value in content["state_dict"].items() if ".lora_" not in key
    }
    return saved(content, path)


def count_readings(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Count by file's name how often it is hashed, its weights checked and it is opened."""
    found: Calls = {}

    def count(module: ModuleType, function: str, position: int) -> None:
        original, counted = getattr(module, function), Counter[str]()

        def counting(*args: object, **more: object) -> object:
            counted[Path(str(args[position])).name] += 1
            return original(*args, **more)

        monkeypatch.setattr(module, function, counting)
        found[function] = counted

    count(recording, "sha256", 0)
    count(reading, "check_weights", 1)
    count(opening, "unpickle", 0)
    return found
