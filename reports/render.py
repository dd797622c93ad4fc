"""All renderings of a report, written side by side."""

from __future__ import annotations

import os
from pathlib import Path

from reports.html import render_html
from reports.junit import render_junit
from reports.markdown import render_markdown
from reports.schema import Report


def write_reports(report: Report, folder: Path) -> dict[str, Path]:
    """Write ``report.json``, ``report.md``, ``junit.xml`` and ``report.html`` to `folder`.

    The same report gives the same bytes.  Everything is rendered before anything is written,
    and each file appears whole or not at all.

    Args:
        report: what the verification found.
        folder: made if it is missing; older renderings in it are replaced.

    Returns:
        The paths under the keys ``json``, ``markdown``, ``junit`` and ``html``.
    """
    texts = {
        "json": ("report.json", report.model_dump_json(indent=2) + "\n"),
        "markdown": ("report.md", render_markdown(report)),
        "junit": ("junit.xml", render_junit(report)),
        "html": ("report.html", render_html(report)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.values():
        _replace(folder / name, text.encode("utf-8"))
    return {kind: folder / name for kind, (name, _) in texts.items()}


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
