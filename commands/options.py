"""Options that several commands share, and how they combine with a configuration file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vampnet_onnx.configs.config import Config, config_from, load_config
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there
from vampnet_onnx.configs.names import TRANSFORMERS

if TYPE_CHECKING:
    from vampnet_onnx.export.adapters import Adapter

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="DIR",
        help="Folder with codec.pth, coarse.pth, c2f.pth, or some of them.",
    ),
]
Artifacts = Annotated[
    Path,
    typer.Option("--artifacts", metavar="DIR", help="A version, a model or a store."),
]
Threads = Annotated[
    int, typer.Option(min=0, help="Threads of ONNX Runtime; 0 leaves the choice to it.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration; its matrix and gates."),
]
Unsealed = Annotated[
    bool,
    typer.Option(
        "--unsealed", help="Accept files whose hash differs from the manifest's, and say so."
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="FILE",
        help="LoRA file to lay over the transformer it fits; or coarse=FILE, c2f=FILE.",
    ),
]
UpstreamPython = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Python that has the published packages; the one running this if left out.",
    ),
]


_ADAPTER_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LAST_SEED = (1 << 63) - 1
_MOST_SEEDS = 1_000_000


def settings_from(
    config: Path | None,
    checkpoint: Path | None,
    model: str | None,
    lora: list[str] | None,
    export_options: dict[str, Any],
) -> Config:
    """Combine a configuration file, if there is one, with options of the command."""
    given = {key: value for key, value in export_options.items() if value is not None}
    if config is None:
        if checkpoint is None:
            raise InputError("give --checkpoint DIR (or --config FILE)")
        name = model or checkpoint.resolve().name
        overlays = lora_overlays(lora, checkpoint)
        source = {"path": checkpoint, "lora": overlays}
        values = {"model": name, "checkpoint": source, "export": given}
        return config_from(values, source="options")
    settings = load_config(config)
    changed = settings.model_dump()
    changed["model"] = model or settings.model
    changed["export"] |= given
    if checkpoint is not None:
        changed["checkpoint"] |= {"path": checkpoint, "like": None}
    changed["checkpoint"]["lora"] |= lora_overlays(
        lora, checkpoint or settings.checkpoint.path
    )
    return config_from(changed, source=f"{config} with options")


def lora_overlays(options: list[str] | None, folder: Path | None) -> dict[str, Path]:
    """Return LoRA files by the transformer they are for.

    Raises:
        InputError: a file fits none or both, or two are for the same one.
    """
    overlays: dict[str, Path] = {}
    for text in options or ():
        name, path = _lora_option(text, folder)
        if name in overlays:
            raise InputError(f"--lora {text}: {name} has one already, {overlays[name]}")
        overlays[name] = path
    return overlays


def adapters_from(options: list[str] | None, folder: Path) -> tuple[Adapter, ...]:
    """Return adapters of the files that --lora options name.

    Files of one style for both transformers have one name: that of the file without the
    transformer's, as in ``music-box-coarse.pth`` and ``music-box-c2f.pth``.

    Raises:
        InputError: a file fits none or both, its name makes none for an adapter, or two files
            make the same name for the same transformer.
    """
    from vampnet_onnx.export.adapters import Adapter

    found: dict[tuple[str, str], Adapter] = {}
    for text in options or ():
        component, path = _lora_option(text, folder)
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


def _lora_option(text: str, folder: Path | None) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if separator and name in TRANSFORMERS:
        return name, Path(path)
    if folder is None or (separator and not is_there(Path(text))):
        raise InputError(f"--lora {text}: write FILE, coarse=FILE or c2f=FILE")
    from vampnet_onnx.models import lora_owner

    return lora_owner(folder, Path(text)), Path(text)


def seed_list(text: str) -> list[int]:
    """Read seeds written with commas and as ranges: 0,1,7 or 0:2000 (the end left out).

    Raises:
        InputError: something else was written.
    """
    try:
        ranges = [_seed_item(item) for item in text.split(",")]
    except ValueError as error:
        raise InputError(f"--seeds {text}: write numbers such as 0,1,2 or 0:100") from error
    if any(r and (r[0] < 0 or r[-1] > _LAST_SEED) for r in ranges):
        raise InputError(f"--seeds {text}: seeds are from 0 to {_LAST_SEED}")
    if not 0 < sum(r.stop - r.start for r in ranges if r) <= _MOST_SEEDS:
        raise InputError(f"--seeds {text}: names no seed, or more than {_MOST_SEEDS}")
    return [seed for r in ranges for seed in r]


def _seed_item(text: str) -> range:
    first, separator, last = text.partition(":")
    return range(int(first), int(last) if separator else int(first) + 1)
