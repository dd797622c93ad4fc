"""``vampnet-onnx fetch``: checkpoints from the hub."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Json
from .output import print_files, progress_bar


def fetch(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the checkpoints.")],
    finetuned: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A fine-tuned pair instead of the base one."),
    ] = None,
    repo: Annotated[
        str | None, typer.Option(help="Repository on the hub; the published one if left out.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="codec, coarse or c2f only; may be repeated.")
    ] = None,
    beats: Annotated[
        bool, typer.Option("--beats", help="The beat tracker, too: wavebeat.pth.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Get the published checkpoints, or a fine-tuned pair, from the hub.

    Downloads resume where they stopped and are checked against the hub's hashes. HF_ENDPOINT
    and HF_TOKEN are honoured. The weights' licence is their authors'.

    Examples:
      vampnet-onnx fetch checkpoints/published

      vampnet-onnx fetch checkpoints/opera --finetuned opera
    """
    from vampnet_onnx.configs.hub.published import fetch_published

    with progress_bar() as bar:
        files = fetch_published(
            output,
            finetuned=finetuned,
            only=tuple(only or ()),
            beats=beats,
            repo=repo,
            revision=revision,
            progress=bar,
        )
    print_files(files, as_json=as_json)
