"""What templates make of a report: Markdown, and one HTML file that asks for nothing.

Templates escape everything; the Content-Security-Policy in the page forbids every request, so
not even a hostile name in the data could make one.
"""

import hashlib
import math
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from . import figures, summary, trend
from .schema import Case, Component, Gate, Report, Verdict
from .summary import format_number, printable, share_of_gate, worst_case, worst_first

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_CASES = 1000  # in a table of the page; the JSON has all of them
_MOST_RUNS = 6  # in the table of headroom in Markdown; the page draws more
_MOST_ROWS = 16  # components above the fold of Markdown; the details below have all
_MOST_NOTES, _MOST_FOUND, _MOST_GATES = 6, 8, 2  # in a comment
_TITLES = {"verify": "Against its checkpoint", "compare": "Against the last verified version"}
_MARKS = {
    Verdict.PASS: "✅ PASS",
    Verdict.AMBIGUOUS: "⚠️ AMBIGUOUS",
    Verdict.INTERRUPTED: "⏹️ INTERRUPTED",
    Verdict.FAIL: "❌ FAIL",
}
_OPTION = re.compile(r"(--[\w-]+)")
# An underscore inside a word, as in metric names, is no markup and stays readable.
_MARKUP = re.compile(r"[\\`*\[\]|~#$!]|(?<![^\W_])_|_(?![^\W_])")


def render_html(report: Report) -> str:
    """Return the report as a self-contained HTML page."""
    made = page_environment()
    script = (_TEMPLATES / "filter.js").read_text("utf-8")
    digest = b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    made.globals.update(
        anchors=_anchors,
        shown_cases=_shown_cases,
        links_of=_links,
        verdicts=_verdicts,
        metrics=_metrics,
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
    )
    return made.get_template("report.html").render(report=report)


def page_environment() -> Environment:
    """Return an environment for templates of pages, in which every text is escaped."""
    made = _environment(printable, autoescape=True)
    made.filters.update(number=_number, loud=_loud, breakable=_breakable, command=_command)
    return made


def render_markdown(report: Report) -> str:
    """Return the report in GitHub's Markdown, for a release page or a job's summary."""
    made = markdown_environment()
    made.globals.update(most_rows=_MOST_ROWS, most_runs=_MOST_RUNS, report=report)
    return made.get_template("report.md").render()


def render_comment(landing: object, mark: str) -> str:
    """Return a comment for a pull request: what a change comes to, in GitHub's Markdown.

    Args:
        landing: of `landing.Landing`.
        mark: its first line, which nobody sees.
    """
    made = markdown_environment(_escape_comment)
    made.filters["address"] = Markup
    made.globals.update(
        mark_line=Markup(mark),
        titles=_TITLES,
        broken=_broken,
        most_rows=_MOST_ROWS,
        most_notes=_MOST_NOTES,
        most_found=_MOST_FOUND,
        landing=landing,
    )
    return made.get_template("comment.md").render()


def _escape_comment(text: str) -> str:
    """Escape as Markdown, and so that nobody is called by a name in the text."""
    return escape_markdown(text).replace("@", "@<!-- -->")


def _broken(part: Component | None) -> list[Gate]:
    """Return gates that failed, as many as say by how much; numbers first."""
    failed = [gate for gate in part.gates if gate.verdict is Verdict.FAIL] if part else []
    return sorted(failed, key=lambda gate: math.isinf(share_of_gate(gate)))[:_MOST_GATES]


def markdown_environment(escape: Callable[[str], str] | None = None) -> Environment:
    """Return an environment for templates of Markdown, in which every text is escaped.

    Args:
        escape: as Markdown, in another way than the usual.
    """
    made = _environment(escape or escape_markdown, keep_trailing_newline=True)
    made.filters.update(code=_code_span, shortened=_shortened, verbatim=Markup)
    made.globals.update(mark=_MARKS.get)
    return made


def escape_markdown(text: str) -> str:
    """Return `text` as it must stand in Markdown to be read as written, on one line."""
    line = " ".join(printable(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(lambda m: "\\" + m.group(), line)


def _shortened(text: str, longest: int = 240) -> str:
    """Return `text` cut to what has room above the fold, with a sign that it is."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _code_span(text: str) -> Markup:
    """Return a command so that Markdown shows it, and a shell reads it, as it is."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    # A table would end its cell at a bar.
    return Markup(fence + pad + printable(text).replace("|", "\\|") + pad + fence)


def _environment(escape: Callable[[str], str], **options: Any) -> Environment:
    """Return an environment in which every text a template writes goes through `escape`.

    Args:
        escape: makes text harmless in the language of the template.
    """
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is a str too, and has been through here already.
        finalize=lambda value: escape(value) if type(value) is str else value,
        **options,
    )
    made.globals.update(Verdict=Verdict, summary=summary, figures=figures, trend=trend)
    return made


def _anchors(component: Component, anchor: str) -> dict[str, str]:
    """Return where links to a case lead, by its id; the component's own anchor is given."""
    return {case.id: f"{anchor}-case-{i}" for i, case in enumerate(component.cases, 1)}


def _links(component: Component, anchor: str) -> list[tuple[str, str]]:
    """Return where a person looks next, as (anchor, words)."""
    cases, found = _anchors(component, anchor), list[tuple[str, str]]()
    for i, cause in enumerate(component.causes, 1):
        if cause.depth:
            found.append((f"{anchor}-depth-{i}", "error over depth"))
    if component.heat_map and figures.heat_figure(component.heat_map):
        found.append((f"{anchor}-heat", "heat map"))
    walked = [cause.case for cause in component.causes if cause.case in cases]
    worst = summary.worst_case(component)
    for case in dict.fromkeys(walked or ([worst.id] if worst else [])):
        found.append((cases[case], f"case {case}"))
    if component.gates:
        found.append((f"{anchor}-gates", "gates"))
    return found


def _verdicts(report: Report) -> list[Verdict]:
    """Return the verdicts that occur, to choose from."""
    found = {part.verdict for part in report.components}
    found |= {gate.verdict for part in report.components for gate in part.gates}
    found |= {case.verdict for part in report.components for case in part.cases}
    return [verdict for verdict in Verdict if verdict in found]


def _metrics(report: Report) -> list[str]:
    """Return the names of gates and metrics that occur, to choose from."""
    return sorted(
        {gate.name for part in report.components for gate in part.gates}
        | {name for part in report.components for name in summary.metric_names(part)}
    )


def _shown_cases(component: Component) -> list[Case]:
    """Return the cases to list, failed ones first; of very many, those that links lead to."""
    ordered, worst = worst_first(component.cases), worst_case(component)
    linked = {gate.worst_case for gate in component.gates} | ({worst.id} if worst else set())
    return ordered[:_MOST_CASES] + [c for c in ordered[_MOST_CASES:] if c.id in linked]


def _breakable(name: str) -> Markup:
    """Let a long name break after its underscores and dots rather than inside a word."""
    return Markup("<wbr>").join(re.split(r"(?<=[_.])", printable(name)))


def _command(text: str) -> Markup:
    """Return a command whose options are not broken at their hyphens where a line ends."""
    words = enumerate(_OPTION.split(printable(text)))
    unbroken = Markup('<span class="option">{}</span>')
    return Markup("").join(unbroken.format(word) if i % 2 else word for i, word in words)


def _number(value: float | None) -> Markup:
    return _loud(format_number(value))


def _loud(text: str) -> Markup:
    """Return a formatted number, marked where it is none."""
    if text.lstrip("-")[:1].isdigit():
        return escape(text)
    return Markup('<strong class="loud">{}</strong>').format(text)
