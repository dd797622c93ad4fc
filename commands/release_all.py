"""``vampnet-onnx release-all``: many models, a configuration each."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vampnet_onnx.configs.extras import require_export_tools
from vampnet_onnx.configs.machine import use_large_pages

from .faults import words_for
from .options import GraphJobs, Json, NoCache, Scheduler
from .output import (
    complain,
    cost,
    out,
    print_cost,
    print_json,
    print_table,
    progress_bar,
    remark,
)

if TYPE_CHECKING:
    from vampnet_onnx.verify.release_all import Released


def release_all(
    configs: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG_DIR",
            help="Folder of configurations of releases, *.toml.",
        ),
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where reports go, each in a folder named after its configuration; below"
            " each configuration's own if left out.",
        ),
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Root of the artifact store.")
    ] = None,
    scheduler: Scheduler = None,
    jobs: GraphJobs = None,
    no_cache: NoCache = False,
    as_json: Json = False,
) -> None:
    """Release every configuration of a folder, and say what came of each.

    A configuration that fails stops no other. The exit code is the worst that a release by
    itself would have had. With --scheduler, workers of dask.distributed release them, one at a
    time each, and write to the same folders.

    Examples:
      vampnet-onnx release-all configs --report report

      vampnet-onnx release-all configs --scheduler tcp://10.0.0.1:8786
    """
    require_export_tools()
    use_large_pages()
    from vampnet_onnx.verify.release_all import release_all as released

    started = time.monotonic()
    found: list[Released] = []
    try:
        with progress_bar() as bar:
            for item in released(
                configs,
                words=words_for,
                artifacts=artifacts,
                report=report,
                scheduler=scheduler,
                cache=not no_cache,
                jobs=jobs,
                progress=bar,
                note=remark,
            ):
                found.append(item)
    finally:  # what stands is told, whatever ended the rest
        if found:
            worst = max(item.code for item in found)
            if as_json:
                rows = [vars(item) for item in found]
                print_json({"exit_code": worst, "releases": rows, **cost(started)})
            else:
                _print(found, started)
    raise typer.Exit(worst)


def _print(found: list[Released], started: float) -> None:
    print_table(
        ("configuration", "exit", "verdict", "version", "seconds"),
        [
            (
                item.name,
                str(item.code),
                item.verdict or "none",
                item.folder or "none",
                f"{item.seconds:.1f}",
            )
            for item in found
        ],
    )
    for item in found:
        if item.code and not item.verdict:
            complain(f"{item.name}: {item.line}")
        else:
            out.print(f"  {item.name}: {item.line}", markup=False)
            out.print(f"    report {item.report}", markup=False)
    print_cost(started)
