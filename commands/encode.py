"""``vampnet-onnx encode``: audio to codes."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Artifacts, AudioIn, Json, Provider, Runs, Tf32, Threads
from .output import (
    here,
    print_json,
    print_version,
    remark,
    spinner,
    told_on,
    version_facts,
)


def encode(
    source: AudioIn,
    target: Annotated[
        Path, typer.Argument(metavar="OUT.npz", help="Codes to write; - for standard output.")
    ],
    artifacts: Artifacts,
    keep_stereo: Annotated[
        bool, typer.Option("--keep-stereo", help="Encode each channel, not their mean.")
    ] = False,
    threads: Threads = 0,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    as_json: Json = False,
) -> None:
    """Turn audio into codes: prepared as the published package prepares it, then encoded.

    Example:
      vampnet-onnx encode in.wav codes.npz --artifacts artifacts
    """
    from vampnet_onnx.configs.verification import version_to_use
    from vampnet_onnx.pipeline.jobs import encode_file
    from vampnet_onnx.pipeline.vamp import VampPipeline

    results = told_on(target, as_json=as_json)
    artifacts = here(artifacts)
    with spinner("encoding"):
        chosen = version_to_use(artifacts)
        pipeline = VampPipeline.open(
            chosen.folder, threads=threads, provider=provider, runtime=runtime, tf32=tf32
        )
        shape = encode_file(pipeline, source, target, keep_stereo=keep_stereo, say=remark)
    print_version(chosen, runs := pipeline.where_it_runs())
    if as_json:
        facts = version_facts(chosen, runs)
        print_json({"files": [str(target)], "shape": list(shape), **facts})
    else:
        results.print(f"  {target}  {shape[2]} codebooks, {shape[3]} frames", markup=False)
