"""``vampnet-onnx encode``: audio to codes."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Artifacts, AudioIn, Json, Threads
from .output import out, print_json, spinner


def encode(
    source: AudioIn,
    target: Annotated[Path, typer.Argument(metavar="OUT.npz", help="Codes to write.")],
    artifacts: Artifacts,
    keep_stereo: Annotated[
        bool, typer.Option("--keep-stereo", help="Encode each channel, not their mean.")
    ] = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Turn audio into codes: prepared as the published package prepares it, then encoded.

    Example:
      vampnet-onnx encode in.wav codes.npz --artifacts artifacts
    """
    from vampnet_onnx.pipeline.jobs import encode_file
    from vampnet_onnx.pipeline.vamp import VampPipeline

    with spinner("encoding"):
        pipeline = VampPipeline.open(artifacts, threads=threads)
        shape = encode_file(pipeline, source, target, keep_stereo=keep_stereo)
    if as_json:
        print_json({"files": [str(target)], "shape": list(shape)})
    else:
        out.print(f"  {target}  {shape[2]} codebooks, {shape[3]} frames", markup=False)
