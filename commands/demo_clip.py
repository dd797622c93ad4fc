"""``vampnet-onnx demo-clip``: audio to try things with."""

from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.packaged import CLIP, DEMO_SET, packaged_set

from .output import print_files


def demo_clip(
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Audio to write: .wav, .flac or .ogg.")
    ],
) -> None:
    """Write the clip that comes with the demo checkpoints, six seconds of procedural music.

    Example:
      vampnet-onnx demo-clip clip.wav
    """
    from vampnet_onnx.pipeline.files.audio_files import open_audio, write_audio

    clip = open_audio(packaged_set(DEMO_SET) / CLIP)
    write_audio(target, clip.blocks(), clip.sample_rate)
    print_files([target])
