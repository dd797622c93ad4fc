"""What a checkpoint file holds, whatever it was saved as: PyTorch's format or safetensors.

Nothing is said here of whether the tensors are those of a network: `checkpoint.py` does.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from vampnet_onnx.configs.errors import InputError

from .unpickle import require_file, unpickle, what_it_is, wrapper_prefix

SAFETENSORS = ".safetensors"
RANDOM_LABEL = "random_weights"

# Where a file of another kind has its weights, or what says whose file it is.
LIGHTNING_MODULES = ("pytorch_lightning", "lightning", "lightning_fabric")
_LIGHTNING = "pytorch-lightning_version"


@dataclass(frozen=True)
class Content:
    """What a file holds, its tensors as they are.

    Attributes:
        state: tensors under the names in the file.
        metadata: what is said of them; empty where nothing is.
        others: what else is in the file, by its keys.
        hyper_parameters: of a file of PyTorch Lightning.
    """

    path: Path
    state: Mapping[Any, Any]
    metadata: Mapping[str, Any]
    others: tuple[str, ...] = ()
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The published constructor's keywords.

        Raises:
            InputError: there are none.
        """
        found = self.metadata.get("kwargs")
        if not isinstance(found, dict):
            raise InputError(f"{self.path}: {self._lack()}")
        return dict(found)

    @property
    def label(self) -> str:
        """What its metadata says of the weights: ``random``, or nothing."""
        labelled = self.metadata.get(RANDOM_LABEL)
        return "" if labelled is None or labelled is False else "random"

    @property
    def prefix(self) -> str:
        """What a wrapper put before every key, such as ``_orig_mod.``."""
        return wrapper_prefix(self.state)

    def _lack(self) -> str:
        if _LIGHTNING in self.others:
            return (
                "a checkpoint of PyTorch Lightning, without metadata.kwargs, so its dimensions"
                " are unknown; save the network in it by itself, with the published package's"
                " BaseModel.save"
            )
        if self.path.suffix == SAFETENSORS:
            return (
                "the header's metadata has no 'kwargs' (the constructor's keywords as JSON),"
                " so its dimensions are unknown; give it when saving:"
                " safetensors.torch.save_file(state, path, {'kwargs': json.dumps(kwargs)})"
            )
        return (
            "the checkpoint has no metadata.kwargs, so its dimensions are unknown;"
            " save it with the published package's BaseModel.save"
        )


def read_content(path: Path, *, bare: bool = False, lightning: bool = False) -> Content:
    """Open a file; its tensors are mapped, not read.

    Args:
        bare: a mapping of tensors alone will do, as LoRA files are.
        lightning: the file is one of PyTorch Lightning, whose classes are read as data.

    Raises:
        InputError: it cannot be read, or holds no tensors where they should be.
    """
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    content = unpickle(path, inert=LIGHTNING_MODULES if lightning else ())
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        metadata = content.get("metadata")
        return Content(
            path,
            content["state_dict"],
            metadata if isinstance(metadata, dict) else {},
            tuple(map(str, content)),
            dict(found) if isinstance(found := content.get("hyper_parameters"), dict) else {},
        )
    if bare and isinstance(content, dict) and content:
        return Content(path, content, {})
    raise InputError(f"{path}: {_wrong(content, bare)}")


def _wrong(content: object, bare: bool) -> str:
    if bare:
        return "not a LoRA file: no tensors inside"
    text = "not a checkpoint in the published format: no 'state_dict' inside"
    if not isinstance(content, dict) or not content:
        return text
    keys = [str(key) for key in content]
    if all(key.endswith((".lora_A", ".lora_B")) for key in keys):
        return f"{text}, it is a LoRA file; lay it over a whole checkpoint with --lora"
    return f"{text}, but {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"


def _read_safetensors(path: Path) -> Content:
    require_file(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            header = opened.metadata() or {}
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (permission denied)") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: {what_it_is(path) or 'truncated, or not a safetensors file at all'}"
        ) from error
    metadata = {name: _parsed(path, name, text) for name, text in header.items()}
    nested = metadata.pop("metadata", None)
    return Content(path, state, {**(nested if isinstance(nested, dict) else {}), **metadata})


def _parsed(path: Path, name: str, text: str) -> Any:
    """Read a value of a header: text, but where this tool looks for values."""
    if name == RANDOM_LABEL:  # anything but a clear no
        return text.strip().lower() not in ("false", "no", "0", "null", "none", "")
    if name not in ("kwargs", "metadata"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {name!r} in the header's metadata is no JSON") from error
