"""``python -m training``: make the demo weights, and measure them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.files import replacing
from vampnet_onnx.configs.interrupts import EXIT_CODE, Interrupted, watch
from vampnet_onnx.configs.names import CODEC
from vampnet_onnx.configs.packaged import CLIP
from vampnet_onnx.models import CodecDims
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes
from vampnet_onnx.pipeline.files.audio_files import write_audio

from .curves import plot_curves
from .music import piece
from .quality import measure
from .recipe import Recipe, load_recipe
from .recognition import recognition, untrained_recognition
from .stages import STAGES, UNFINISHED, train_stage
from .styles import STYLES

app = typer.Typer(
    name="training",
    help="Training of the demo weights.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the checkpoints.")]
Output = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the JSON here, too.")
]


@app.command()
def train(
    folder: Folder,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="codec, coarse, c2f, lora or wavebeat only; may be repeated."),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads of PyTorch; 0 leaves the choice to it.")
    ] = 0,
) -> None:
    """Train everything that is not there yet, and write the clip.

    Stopped, it goes on with the first file that is missing; what was trained of that until an
    interrupt is kept in DIR/unfinished.

    Example:
      python -m training train checkpoints/new
    """
    unknown = sorted(set(stage or ()) - set(STAGES))
    if unknown:
        raise InputError(f"--stage {unknown[0]}: known are {', '.join(STAGES)}")
    if threads:
        torch.set_num_threads(threads)
    recipe = load_recipe()
    _write_clip(folder / CLIP, recipe)
    for name in STAGES:
        if not stage or name in stage:
            train_stage(folder, name, recipe, progress=_telling(name))


@app.command()
def evaluate(folder: Folder, output: Output = None) -> None:
    """Measure all networks on pieces that were never trained on.

    Example:
      python -m training evaluate checkpoints/demo --out checkpoints/demo/quality.json
    """
    recipe = load_recipe()
    _report(asdict(measure(folder, recipe, clips=recipe.evaluation.clips)), output)


@app.command()
def recognise(
    folder: Folder,
    clips: Annotated[list[Path], typer.Argument(metavar="CLIP...", help="Audio to vary.")],
    output: Output = None,
) -> None:
    """Export the checkpoints, vary clips with the files, and compare with untrained ones.

    Example:
      python -m training recognise checkpoints/demo checkpoints/demo/clip.flac
    """
    trained = recognition(folder, clips)
    untrained = untrained_recognition(load_recipe().size, clips)
    _report(
        {
            name: {"trained": asdict(trained[name]), "untrained": asdict(untrained[name])}
            for name in trained
        },
        output,
    )


@app.command()
def curves(folder: Folder, picture: Annotated[Path, typer.Argument(metavar="FILE")]) -> None:
    """Draw the loss curves.

    Example:
      python -m training curves checkpoints/demo docs/training.png
    """
    plot_curves(folder, picture)


def _write_clip(target: Path, recipe: Recipe) -> None:
    dims = CodecDims.from_kwargs(sizes()[recipe.size][CODEC], "sizes.toml")
    samples = piece(
        STYLES[recipe.clip.style],
        recipe.clip.seed,
        seconds=recipe.clip.frames * dims.hop_length / dims.sample_rate,
        rate=dims.sample_rate,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_audio(target, [samples[None]], dims.sample_rate)


def _telling(stage: str) -> Callable[[int, int, float], None]:
    def tell(done: int, total: int, loss: float) -> None:
        sys.stderr.write(f"{stage} {done}/{total} loss {loss:.4f}\n")

    return tell


def _report(found: dict[str, Any], target: Path | None) -> None:
    text = json.dumps(found, indent=2) + "\n"
    sys.stdout.write(text)
    if target is not None:
        with replacing(target) as temporary:
            temporary.write_text(text, "utf-8")


def main() -> None:
    """Run it; a refusal is one line on standard error, with the error's exit code."""
    watch()
    try:
        app()
    except Interrupted:
        sys.stderr.write(f"interrupted; what a stage was at is kept in DIR/{UNFINISHED}\n")
        sys.exit(EXIT_CODE)
    except (InputError, EnvironmentLacksError) as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
