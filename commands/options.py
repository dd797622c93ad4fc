"""Options that several commands share, and how they combine with a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from configs.config import Config, config_from, load_config
from configs.errors import InputError

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
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="NAME=FILE",
        help="LoRA file to lay over a transformer, as coarse=FILE or c2f=FILE.",
    ),
]


def settings_from(
    config: Path | None,
    checkpoint: Path | None,
    model: str | None,
    lora: list[str] | None,
    export_options: dict[str, Any],
) -> Config:
    """Combine a configuration file, if there is one, with options of the command."""
    overlays = dict(_lora_option(item) for item in lora or ())
    given = {key: value for key, value in export_options.items() if value is not None}
    if config is None:
        if checkpoint is None:
            raise InputError("give --checkpoint DIR (or --config FILE)")
        name = model or checkpoint.resolve().name
        source = {"path": checkpoint, "lora": overlays}
        values = {"model": name, "checkpoint": source, "export": given}
        return config_from(values, source="options")
    settings = load_config(config)
    changed = settings.model_dump()
    changed["export"] |= given
    if checkpoint is not None:
        changed["checkpoint"] |= {"path": checkpoint, "like": None}
    changed["checkpoint"]["lora"] |= overlays
    return config_from(changed, source=f"{config} with options")


def _lora_option(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator or name not in ("coarse", "c2f"):
        raise InputError(f"--lora {text}: write coarse=FILE or c2f=FILE")
    return name, Path(path)


def seed_list(text: str) -> list[int]:
    """Read seeds written with commas.

    Raises:
        InputError: something else was written.
    """
    try:
        seeds = [int(item) for item in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--seeds {text}: write numbers with commas, such as 0,1,2"
        ) from error
    if min(seeds) < 0:
        raise InputError(f"--seeds {text}: seeds are not negative")
    return seeds
