"""``vampnet-onnx make-checkpoint``: random weights in the published format."""

from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.extras import require_export_tools

from .output import out, spinner


def make_checkpoint(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the checkpoints.")],
    like: Annotated[str, typer.Option(help="Size: tiny, demo or released.")] = "tiny",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights.")] = 0,
    beats: Annotated[
        bool, typer.Option("--beats", help="A beat tracker, too: wavebeat.pth.")
    ] = False,
) -> None:
    """Write random checkpoints in the published format, labelled as random.

    They prove arithmetic, not usefulness: nothing made from them is music. `released` writes
    the released transformers' dimensions, 2.6 GB.

    Example:
      vampnet-onnx make-checkpoint checkpoints/tiny --like tiny --seed 1
    """
    require_export_tools()
    from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set

    with spinner("drawing weights") as tell:
        files = write_random_set(output, like=like, seed=seed, beats=beats, progress=tell)
    for path in files:
        out.print(f"  {path}  {path.stat().st_size / 1e6:.2f} MB")
    out.print("  random weights: they prove arithmetic, the model makes no music")
