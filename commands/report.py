"""``vampnet-onnx report``: render a report again."""

from pathlib import Path
from typing import Annotated

import typer

from .output import print_files


def report(
    source: Annotated[Path, typer.Argument(metavar="REPORT.JSON", help="A report's data.")],
    output: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to; the file's folder if left out."),
    ] = None,
) -> None:
    """Render report.json again as HTML, Markdown and JUnit.

    Example:
      vampnet-onnx report report/report.json --out elsewhere
    """
    from vampnet_onnx.reports import read_report, write_reports

    files = write_reports(read_report(source), output or source.parent)
    print_files(files.values())
