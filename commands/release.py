"""``vampnet-onnx release``: the main job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vampnet_onnx.configs.config import load_config
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_export_tools
from vampnet_onnx.configs.machine import use_large_pages

from .options import Checkpoint, Codec, GraphJobs, Json, NoCache
from .output import (
    cost,
    out,
    print_cost,
    print_json,
    print_report,
    print_verdict,
    progress_bar,
    remark,
)

if TYPE_CHECKING:
    from vampnet_onnx.reports import Report


def release(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG",
            help="TOML file; without it and --checkpoint, the embedded demo.",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    codec: Codec = None,
    model: Annotated[
        str | None, typer.Option(help="Name in the store; the folder's if left out.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the report goes.")
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Root of the artifact store.")
    ] = None,
    jobs: GraphJobs = None,
    no_cache: NoCache = False,
    as_json: Json = False,
) -> None:
    """Export a checkpoint set, verify it, report, and publish it if every gate holds.

    Without arguments the embedded demo is released: a small trained set that comes along.
    With a configuration, --checkpoint and --codec stand in for its own. A set that fails a
    gate is not published; its files are kept under ARTIFACTS/MODEL/rejected for inspection.

    Examples:
      vampnet-onnx release

      vampnet-onnx release --checkpoint checkpoints/mine

      vampnet-onnx release my-model.toml --report report
    """
    require_export_tools()
    use_large_pages()
    from vampnet_onnx.export.options import settings_from
    from vampnet_onnx.reports import has_report
    from vampnet_onnx.verify.release import release_set

    if config is None and checkpoint is None:
        if codec or model:
            raise InputError("--codec and --model go with --checkpoint DIR")
        settings = load_config(None)
    else:
        settings = settings_from(config, checkpoint, model=model, codec=codec)
    started = time.monotonic()
    judged: list[Report] = []
    replaced = has_report(report or settings.output.report)
    try:
        with progress_bar() as bar:
            outcome = release_set(
                settings,
                artifacts=artifacts or settings.output.artifacts,
                report=report or settings.output.report,
                progress=bar,
                judged=judged.append,
                source=config,
                cache=not no_cache,
                jobs=jobs,
                note=remark,
            )
    except BaseException:  # whatever failed, a verdict that stands is told
        for found in judged:
            if as_json:
                print_json(_verdict(found) | {"published": False})
            else:
                print_verdict(found)
        raise
    if as_json:
        print_json(
            {
                **_verdict(outcome.report),
                "published": outcome.published,
                "new": outcome.new,
                "artifacts": str(outcome.folder),
                "standing": outcome.standing,
                "report": {name: str(path) for name, path in outcome.files.items()},
                **cost(started),
            }
        )
    else:
        print_verdict(outcome.report)
        state = "published" if outcome.new else "unchanged, already published"
        state = f"{state if outcome.published else 'rejected'}; {outcome.standing}"
        out.print(f"  artifacts  {outcome.folder} ({state})", markup=False)
        print_report(outcome.files["html"], replaced=replaced)
        print_cost(started)
    raise typer.Exit(0 if outcome.published else 1)


def _verdict(found: Report) -> dict[str, object]:
    return {"verdict": found.verdict, "verdict_line": found.verdict_line}
