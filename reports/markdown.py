"""The report as Markdown (GitHub's flavour), for a release page or a job's summary."""

import re

from .schema import Report, Verdict
from .summary import printable
from .templating import environment

_MARKS = {Verdict.PASS: "✅ PASS", Verdict.AMBIGUOUS: "⚠️ AMBIGUOUS", Verdict.FAIL: "❌ FAIL"}
# An underscore inside a word, as in metric names, is no markup and stays readable.
_MARKUP = re.compile(r"[\\`*\[\]|~#$!]|(?<![^\W_])_|_(?![^\W_])")


def render_markdown(report: Report) -> str:
    """Return the report as Markdown text."""
    template = environment(escape, keep_trailing_newline=True).get_template("report.md")
    return template.render(report=report, mark=_MARKS.get)


def escape(text: str) -> str:
    """Return `text` as it must stand in Markdown to be read as written, on one line."""
    line = " ".join(printable(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(lambda m: "\\" + m.group(), line)
