"""All renderings of a report, written side by side."""

import contextlib
from pathlib import Path

from vampnet_onnx.configs.files import replacing

from .junit import render_junit
from .pages import render_html, render_markdown
from .schema import Report


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
    folder = Path(folder)
    texts = {
        "json": ("report.json", report.model_dump_json(indent=2) + "\n"),
        "markdown": ("report.md", render_markdown(report)),
        "junit": ("junit.xml", render_junit(report)),
        "html": ("report.html", render_html(report)),
    }
    with contextlib.ExitStack() as stack:  # none is replaced before all are written
        for name, text in texts.values():
            temporary = stack.enter_context(replacing(folder / name))
            temporary.write_bytes(text.encode("utf-8"))
    return {kind: folder / name for kind, (name, _) in texts.items()}
