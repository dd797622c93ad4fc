"""``vampnet-onnx release``: the main job."""

import time
from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.config import load_config
from vampnet_onnx.configs.extras import require_export_tools

from .options import Json
from .output import cost, out, print_cost, print_json, print_verdict, progress_bar


def release(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="TOML file; the embedded demo if left out."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the report goes.")
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Root of the artifact store.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a checkpoint set, verify it, report, and publish it if every gate holds.

    Without arguments the embedded demo is released: a small trained set that comes along.
    A set that fails a gate is not published; its files are kept under
    ARTIFACTS/MODEL/rejected for inspection.

    Examples:
      vampnet-onnx release

      vampnet-onnx release my-model.toml --report report
    """
    require_export_tools()
    from vampnet_onnx.verify.release import release_set

    settings = load_config(config)
    started = time.monotonic()
    with progress_bar() as bar:
        outcome = release_set(
            settings,
            artifacts=artifacts or settings.output.artifacts,
            report=report or settings.output.report,
            progress=bar,
        )
    result = {
        "verdict": outcome.report.verdict,
        "verdict_line": outcome.report.verdict_line,
        "published": outcome.published,
        "new": outcome.new,
        "artifacts": str(outcome.folder),
        "report": {name: str(path) for name, path in outcome.files.items()},
        **cost(started),
    }
    if as_json:
        print_json(result)
    else:
        print_verdict(outcome.report)
        state = "published" if outcome.new else "unchanged, already published"
        out.print(
            f"  artifacts  {outcome.folder} ({state if outcome.published else 'rejected'})"
        )
        out.print(f"  report     {outcome.files['html']}")
        print_cost(started)
    raise typer.Exit(0 if outcome.published else 1)
