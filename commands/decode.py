"""``vampnet-onnx decode``: codes to audio."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Artifacts, AudioOut, Json, Provider, Runs, Tf32, Threads
from .output import (
    here,
    print_version,
    print_written,
    remark,
    spinner,
    told_on,
    version_facts,
)


def decode(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN.npz",
            help="Codes, of encode or vamp --save-tokens; - for standard input.",
        ),
    ],
    target: AudioOut,
    artifacts: Artifacts,
    output_loudness: Annotated[
        str | None,
        typer.Option(
            help="input, codec or LUFS, as of vamp; if left out, what the file says.",
            metavar="WHICH",
        ),
    ] = None,
    threads: Threads = 0,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    as_json: Json = False,
) -> None:
    """Turn codes into audio, the way the published package does.

    Codes of vamp give what vamp wrote, but for the input that --mix mixed in; those of encode
    are as loud as what was encoded.

    Example:
      vampnet-onnx decode codes.npz out.wav --artifacts artifacts
    """
    from vampnet_onnx.configs.verification import version_to_use
    from vampnet_onnx.pipeline.jobs import decode_file
    from vampnet_onnx.pipeline.steps.output import read_loudness
    from vampnet_onnx.pipeline.vamp import VampPipeline

    loudness = None if output_loudness is None else read_loudness(output_loudness)
    results = told_on(target, as_json=as_json)
    artifacts = here(artifacts)
    with spinner("decoding"):
        chosen = version_to_use(artifacts)
        pipeline = VampPipeline.open(
            chosen.folder, threads=threads, provider=provider, runtime=runtime, tf32=tf32
        )
        written = decode_file(pipeline, source, target, output_loudness=loudness, say=remark)
    print_version(chosen, runs := pipeline.where_it_runs())
    print_written(written, as_json=as_json, to=results, **version_facts(chosen, runs))
