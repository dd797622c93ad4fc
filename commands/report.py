"""``vampnet-onnx report``: render a report again."""

from pathlib import Path
from typing import Annotated

import typer

from .output import out, print_files


def report(
    source: Annotated[Path, typer.Argument(metavar="REPORT.JSON", help="A report's data.")],
    output: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to; the file's folder if left out."),
    ] = None,
    history: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Draw headroom over the runs of this history.jsonl; several are merged.",
        ),
    ] = None,
) -> None:
    r"""Render report.json again as HTML, Markdown and JUnit.

    With --history, headroom over runs is that of all whole runs of the report's model in the
    file, on the report's runtime, whether or not its own run is among them.

    Examples:
      vampnet-onnx report report/report.json --out elsewhere

      vampnet-onnx report report/report.json \
          --history artifacts/demo/history.jsonl
    """
    from vampnet_onnx.reports import read_report, write_reports
    from vampnet_onnx.reports.trend import where_it_fell, with_history

    found = read_report(source)
    if history:
        found = with_history(found, history)
    files = write_reports(found, output or source.parent)
    if history and found.trend:
        told = where_it_fell(found.trend) or "headroom fell in no run, or recovered"
        out.print(told, markup=False)
    print_files(files.values())
