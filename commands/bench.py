"""``vampnet-onnx bench``: how fast, and against what."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.extras import require_export_tools
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.interrupts import EXIT_CODE

from .options import Bf16, Checkpoint, Codec, Json, Provider, Runs, Tf32
from .output import (
    complain,
    err,
    here,
    out,
    print_cost,
    print_json,
    print_report,
    print_table,
    print_version,
    remark,
    spinner,
)


def bench(
    artifacts: Annotated[
        Path | None,
        typer.Argument(
            metavar="ARTIFACTS", help="A version, a model, a store or hub:USER/REPO."
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    codec: Codec = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Instead of ARTIFACTS: random ones of this size (tiny, demo, released), made"
            " in a temporary folder.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Runtimes to compare with: torch, torch-compile, openvino, several with"
            " commas, or none; torch where there is a checkpoint.",
        ),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            metavar="FORMS",
            help="Forms of the transformers that take turns, such as fp32,int8; the others"
            " are compared with the first.",
        ),
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option(
            metavar="PYTHON",
            help="Interpreter of another environment, whose version of vampnet-onnx takes"
            " part: it runs the same ARTIFACTS, or with --like exports its own.",
        ),
    ] = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole",
            help="Everything: components, a whole vamp, export and verify, by phase.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="This part: components, vamp, export or verify; may be repeated.",
        ),
    ] = None,
    component: Annotated[
        list[str] | None,
        typer.Option(help="This component, or step (encode, decode), only; repeatable."),
    ] = None,
    cores: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Numbers of cores, such as 1,2; left out, 1, 2, 4 and so on to all.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rounds that count; left out, 5 to 15 by how long they take, and 3 of jobs.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write bench.json and bench.html, with a plot."),
    ] = None,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    bf16: Bf16 = False,
    as_json: Json = False,
) -> None:
    r"""Measure how fast artifacts are, against PyTorch and against other versions of ours.

    Contestants take turns, round by round, in processes of their own on the same cores and
    threads, so that whatever else the machine does falls on all of them. Printed are medians,
    half the width of the interval that holds them, and how many times as long each took as
    ONNX Runtime here, measured round by round. Where the interval of a ratio is wider than the
    difference, there is none: "no difference measured". A matrix product runs in the same
    rounds; "of sgemm" is the share of its rate.

    Networks are timed at 1, 3.5 and 10 seconds of audio, on one core and more, and in batches;
    encode and decode are the steps of the pipeline, in windows. --whole adds whole jobs, a
    process a run: a variation of ten seconds from files to audio, exporting (of unknown
    dimensions, and once more of known ones) and verifying (one seed), with peak memory.

    With --provider or --runtime our side runs there, wholly, or it is an error. Exporting runs
    nothing there: ask for the other parts by name. The rate of matrix products stays the
    processor's.

    An interrupt keeps what was measured. For the released size it takes many minutes; how many
    is said as soon as it is known.

    Examples:
      vampnet-onnx bench artifacts --checkpoint checkpoints/mine

      vampnet-onnx bench --like released --whole --beside old/bin/python

      vampnet-onnx bench artifacts/mine --variants fp32,int8 \
          --against openvino

      vampnet-onnx bench --like demo --only vamp --against torch,torch-compile
    """
    require_export_tools()
    if whole and only:
        raise InputError("--whole is all parts; leave --only out")
    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.configs.runtime import Runtime
    from vampnet_onnx.configs.verification import version_to_use
    from vampnet_onnx.reports.timings_page import has_bench, require_bench_place, write_bench
    from vampnet_onnx.reports.timings_text import beyond, grids, who
    from vampnet_onnx.verify.bench.run import INTERRUPTED, PARTS, Asked
    from vampnet_onnx.verify.bench.run import bench as run_bench

    started = time.monotonic()
    on = Runtime(runtime, provider, tf32=tf32, bf16=bf16)
    chosen = opened = None
    if artifacts is not None:
        artifacts = here(artifacts)
        with spinner("checking hashes"):
            chosen = version_to_use(artifacts)
            opened = open_artifacts(chosen.folder)
    if report is not None:
        require_bench_place(report)
    asked = Asked(
        artifacts=opened,
        like=like,
        checkpoint=checkpoint,
        codec=codec,
        against=None if against is None else _against(against),
        beside=beside,
        variants=_listed(variants) if variants else (),
        parts=PARTS if whole else tuple(only or PARTS[:1]),
        only=tuple(component or ()),
        cores=() if cores is None else _numbers(cores),
        rounds=rounds,
        on=on,
    )
    with temporary_folder() as folder, spinner("measuring") as tell:
        found = run_bench(
            asked,
            folder,
            command=shlex.join(["vampnet-onnx", *sys.argv[1:]]),
            verified=chosen is not None and chosen.verified,
            progress=lambda name, done, total: tell(
                f"{name}, {done} of {total}" if total > 1 else name
            ),
            say=remark,
        )
    if chosen is not None:
        print_version(chosen)
    replaced = report is not None and has_bench(report)
    page = write_bench(found, report) if report is not None else None
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        for grid in grids(found):
            out.print(f"\n[bold]{grid.title}[/bold]")
            print_table(grid.columns, grid.rows)
        out.print()
        for one in found.contestants:
            out.print(f"  {one.name}: {who(one)}", markup=False)
        if beyond(found):
            out.print(f"  {beyond(found)}", markup=False)
        labelled = ", random weights" if found.random_weights else ""
        out.print(
            f"  {found.processor}, {found.cores} cores; no spinning{labelled}", markup=False
        )
    if page is not None:
        print_report(page, replaced=replaced) if not as_json else err.print(f"  {page}")
    if not as_json:
        print_cost(started)
    if found.stopped:
        complain(f"{found.stopped}; what was measured until then is above")
        code = EnvironmentLacksError.exit_code
        raise typer.Exit(EXIT_CODE if found.stopped == INTERRUPTED else code)


def _against(text: str) -> list[str]:
    return [] if text == "none" else _listed(text)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _numbers(text: str) -> list[int]:
    try:
        found = sorted({int(item) for item in text.split(",")})
    except ValueError as error:
        raise InputError(f"--cores {text}: write numbers such as 1,2") from error
    if found[0] < 1:
        raise InputError(f"--cores {text}: it takes at least one")
    return found
