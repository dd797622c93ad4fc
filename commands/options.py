"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.runtime import ProviderName, RuntimeName

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
AudioIn = Annotated[
    Path,
    typer.Argument(
        metavar="IN", help="Audio: WAV, FLAC or OGG, mono or stereo; - for standard input."
    ),
]
AudioOut = Annotated[
    Path,
    typer.Argument(
        metavar="OUT",
        help="Audio to write: .wav, .flac or .ogg; - for WAV on standard output.",
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="DIR",
        help="Folder with codec.pth, coarse.pth, c2f.pth, or some of them (.safetensors, too);"
        " or that of a training run.",
    ),
]
Codec = Annotated[
    Path | None,
    typer.Option(
        "--codec", metavar="FILE", help="The codec, in place of the checkpoint folder's own."
    ),
]
Artifacts = Annotated[
    Path,
    typer.Option(
        "--artifacts",
        metavar="DIR",
        help="A version, a model or a store; or hub:USER/REPO[@REVISION], which is fetched.",
    ),
]
ArtifactsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="ARTIFACTS",
        help="A version, a model or a store; or hub:USER/REPO[@REVISION], which is fetched.",
    ),
]
Cases = Annotated[
    list[str] | None,
    typer.Option(
        "--case", metavar="ID", help="This case only, as reports name it; may be repeated."
    ),
]
Threads = Annotated[
    int, typer.Option(min=0, help="Threads of the runtime; 0 leaves the choice to it.")
]
Provider = Annotated[
    ProviderName,
    typer.Option(help="Of ONNX Runtime; runs the networks wholly, or it is an error."),
]
Runs = Annotated[
    RuntimeName,
    typer.Option("--runtime", help="What runs the networks, in float32."),
]
Tf32 = Annotated[
    bool,
    typer.Option("--tf32", help="Let a GPU round the factors of products to 10 bits."),
]
Bf16 = Annotated[
    bool,
    typer.Option(
        "--bf16", help="Let OpenVINO compute the transformers in bf16, three digits."
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration; its matrix and gates."),
]
NoCache = Annotated[
    bool,
    typer.Option(
        "--no-cache",
        help="Make every graph anew, and keep none: neither use nor fill the cache.",
    ),
]
GraphJobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        "-j",
        min=1,
        max=256,
        help="Processes that make graphs at once; if left out, as many as cores and memory"
        " allow.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Of dask.distributed (tcp://HOST:PORT): its workers do the work. They need the"
        " same packages, and the same files at the same paths, as on a shared file system;"
        " that is checked first.",
    ),
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
    str | None,  # a Path would lose the ./ that tells a file from a name to look up
    typer.Option(
        metavar="PATH",
        help="Python that has the published packages; the one running this if left out.",
    ),
]


_LAST_SEED = (1 << 63) - 1
_MOST_SEEDS = 1_000_000


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
