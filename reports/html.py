"""The report as one HTML file that asks for nothing from anywhere.

Templates escape everything; the Content-Security-Policy in the page forbids every request, so
not even a hostile name in the data could make one.
"""

from markupsafe import Markup, escape

from .schema import Case, Component, Report
from .summary import format_number, printable, worst_case, worst_first
from .templating import environment

_MOST_CASES = 1000  # in a table of the page; the JSON has all of them


def render_html(report: Report) -> str:
    """Return the report as a self-contained HTML page."""
    made = environment(printable, autoescape=True)
    made.filters.update(number=_number, loud=_loud, breakable=_breakable)
    made.globals.update(anchors=_anchors, shown_cases=_shown_cases)
    return made.get_template("report.html").render(report=report)


def _anchors(component: Component, anchor: str) -> dict[str, str]:
    """Return where links to a case lead, by its id; the component's own anchor is given."""
    return {case.id: f"{anchor}-case-{i}" for i, case in enumerate(component.cases, 1)}


def _shown_cases(component: Component) -> list[Case]:
    """Return the cases to list, failed ones first; of very many, those that links lead to."""
    ordered, worst = worst_first(component.cases), worst_case(component)
    linked = {gate.worst_case for gate in component.gates} | ({worst.id} if worst else set())
    return ordered[:_MOST_CASES] + [c for c in ordered[_MOST_CASES:] if c.id in linked]


def _breakable(name: str) -> Markup:
    """Let a long name break after its underscores rather than inside a word."""
    return Markup("_<wbr>").join(printable(name).split("_"))


def _number(value: float | None) -> Markup:
    return _loud(format_number(value))


def _loud(text: str) -> Markup:
    """Return a formatted number, marked where it is none."""
    if text.lstrip("-")[:1].isdigit():
        return escape(text)
    return Markup('<strong class="loud">{}</strong>').format(text)
