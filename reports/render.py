"""All renderings of a report, written side by side."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vampnet_onnx.configs.files import replacing, require_place

from .junit import render_junit
from .pages import render_html, render_markdown
from .schema import Report, report_json

FILES = {
    "json": "report.json",
    "markdown": "report.md",
    "junit": "junit.xml",
    "html": "report.html",
}


def write_reports(report: Report, folder: str | Path) -> dict[str, Path]:
    """Write ``report.json``, ``report.md``, ``junit.xml`` and ``report.html`` to `folder`.

    The same report gives the same bytes.  Everything is rendered before anything is written,
    and older renderings are replaced only when all new ones are on the disk.

    Args:
        folder: made if it is missing; older renderings in it are replaced.

    Returns:
        The paths under the keys ``json``, ``markdown``, ``junit`` and ``html``.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    with written_reports(report, folder) as files:
        return files


@contextlib.contextmanager
def written_reports(report: Report, folder: str | Path) -> Iterator[dict[str, Path]]:
    """Write all renderings, as `write_reports` does, but replace older ones at the end only.

    What goes with the report, or not at all, is done in the block: by then everything is on
    the disk, and if the block fails nothing is replaced.
    """
    folder = Path(folder)
    texts = {
        "json": report_json(report),
        "markdown": render_markdown(report),
        "junit": render_junit(report),
        "html": render_html(report),
    }
    with contextlib.ExitStack() as stack:
        for kind, text in texts.items():
            temporary = stack.enter_context(replacing(folder / FILES[kind]))
            temporary.write_bytes(text.encode("utf-8"))
        yield {kind: folder / name for kind, name in FILES.items()}


def require_report_place(folder: str | Path) -> None:
    """Refuse a folder that reports could not be written to, before the work.

    Raises:
        InputError: it cannot be made or written, or a folder is where a file would go.
    """
    require_place(Path(folder), FILES.values())


def has_report(folder: str | Path) -> bool:
    """Whether a report is there already, which a new one takes the place of."""
    return any((Path(folder) / name).exists() for name in FILES.values())
