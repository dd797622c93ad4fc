"""What a person asks for, on the command line or in Python, made one configuration.

LoRA files are given as FILE, for the transformer that the file fits, or as ``coarse=FILE`` and
``c2f=FILE``.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vampnet_onnx.configs.config import NAME, Config, config_from, load_config
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there
from vampnet_onnx.configs.names import TRANSFORMERS
from vampnet_onnx.models import lora_owner

from .adapters import Adapter

Names = str | Sequence[str]
Files = str | Path | Sequence[str | Path]

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def listed(given: Files | None) -> list[str]:
    """Return what was given as a list of texts: one item, several or none."""
    if isinstance(given, str | Path):
        return [str(given)]
    return [str(item) for item in given or ()]


def settings_from(
    config: str | Path | None,
    checkpoint: str | Path | None,
    *,
    model: str | None = None,
    codec: str | Path | None = None,
    lora: Files = (),
    export: dict[str, Any] | None = None,
) -> Config:
    """Lay options over a configuration file, if there is one, else over the defaults.

    Args:
        model: its name in the store; the folder's or the configuration's if left out.
        codec: file of the codec, in place of the folder's own.
        export: values of the configuration's export section.

    Raises:
        InputError: an impossible value, or neither file nor folder is given.
    """
    folder = Path(checkpoint) if checkpoint is not None else None
    if config is None:
        if folder is None:
            raise InputError("give --checkpoint DIR (or --config FILE)")
        source = {"path": folder, "codec": codec, "lora": lora_overlays(lora, folder)}
        name = model or model_name(folder)
        values = {"model": name, "checkpoint": source, "export": export or {}}
        return config_from(values, source="options")
    settings = load_config(Path(config))
    changed = settings.model_dump()
    changed["model"] = model or settings.model
    changed["export"] |= export or {}
    if folder is not None:
        changed["checkpoint"] |= {"path": folder, "like": None}
    if codec is not None:
        changed["checkpoint"]["codec"] = Path(codec)
    changed["checkpoint"]["lora"] |= lora_overlays(lora, folder or settings.checkpoint.path)
    return config_from(changed, source=f"{config} with options")


def model_name(folder: Path) -> str:
    """Return the name that a model has after its folder: that name, if it can be one.

    Else what can stand in a name is kept: ``My-music`` of the folder ``My müsic!``.

    Raises:
        InputError: nothing can be kept.
    """
    own = folder.resolve().name
    if NAME.fullmatch(own):
        return own
    apart = unicodedata.normalize("NFKD", own)
    plain = "".join(c for c in apart if not unicodedata.combining(c))
    name = _NO_NAME.sub("-", plain)[:64].strip("-._")
    if not NAME.fullmatch(name):
        raise InputError(
            f"{folder}: its name makes none for a model, which has letters and digits of"
            " ASCII; give --model NAME"
        )
    return name


def lora_overlays(files: Files, folder: Path | None) -> dict[str, Path]:
    """Return LoRA files by the transformer they are for.

    Raises:
        InputError: a file fits none or both, or two are for the same one.
    """
    overlays: dict[str, Path] = {}
    for text in listed(files):
        name, path = _owned(text, folder)
        if name in overlays:
            raise InputError(f"--lora {text}: {name} has one already, {overlays[name]}")
        overlays[name] = path
    return overlays


def adapters_from(files: Files, folder: Path) -> tuple[Adapter, ...]:
    """Return adapters to make of LoRA files.

    Files of one style for both transformers have one name: that of the file without the
    transformer's, as in ``music-box-coarse.pth`` and ``music-box-c2f.pth``.

    Raises:
        InputError: a file fits none or both, its name makes none for an adapter, or two files
            make the same name for the same transformer.
    """
    found: dict[tuple[str, str], Adapter] = {}
    for text in listed(files):
        component, path = _owned(text, folder)
        name = path.stem.lower().replace("_", "-").removesuffix(f"-{component}")
        if not _ADAPTER_NAME.fullmatch(name):
            raise InputError(
                f"--lora {text}: an adapter is named after its file, with a-z, 0-9 and -"
                f" alone, and {name!r} is no such name; rename the file"
            )
        if (name, component) in found:
            raise InputError(f"--lora {text}: {component} has an adapter {name!r} already")
        found[name, component] = Adapter(name, component, path)
    return tuple(found.values())


def _owned(text: str, folder: Path | None) -> tuple[str, Path]:
    """Return the transformer that a LoRA file is for, and the file."""
    name, separator, path = text.partition("=")
    if separator and name in TRANSFORMERS:
        return name, Path(path)
    if folder is None or (separator and not is_there(Path(text))):
        raise InputError(f"--lora {text}: write FILE, coarse=FILE or c2f=FILE")
    return lora_owner(folder, Path(text)), Path(text)
