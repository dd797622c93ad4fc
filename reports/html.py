"""The report as one HTML file that asks for nothing from anywhere.

Templates escape everything; the Content-Security-Policy in the page forbids every request, so
not even a hostile name in the data could make one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from . import figures
from .schema import Case, Component, Gate, Number, Report, Verdict
from .summary import (
    describe_case,
    findings,
    format_number,
    headroom,
    label,
    nonfinite,
    printable,
    self_test_verdict,
    tell_apart,
    tightest_gate,
    worst_case,
    worst_first,
)

_MOST_CASES = 1000  # in a table of the page; the JSON has all of them


@dataclass(frozen=True)
class CaseView:
    """A case with the place in the page to which links lead."""

    case: Case
    anchor: str
    nonfinite: str


@dataclass(frozen=True)
class GateView:
    """A gate with its texts and its bar."""

    gate: Gate
    value: str
    limit: str
    headroom: str
    bar: float
    case: CaseView | None


@dataclass(frozen=True)
class ComponentView:
    """A component with everything computed that its section shows."""

    component: Component
    label: str
    anchor: str
    gates: list[GateView]
    passed: int
    tightest: GateView | None
    cases: list[CaseView]
    metrics: list[str]
    worst: CaseView | None
    heat: figures.HeatFigure | None
    plots: list[figures.Plot]
    undrawn: int
    lowest_accuracy: Number | None


def render_html(report: Report) -> str:
    """Return the report as a self-contained HTML page."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            findings=findings(report),
            views=[
                _view(part, f"component-{i}") for i, part in enumerate(report.components, 1)
            ],
            frame=figures.FRAME,
            within=figures.DECADES_WITHIN,
            decades=figures.DECADES_WITHIN + figures.DECADES_BEYOND,
            levels=figures.LEVELS,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is a str too, and has been through here already.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["number"] = _number
    environment.filters["loud"] = _loud
    environment.filters["describe_case"] = describe_case
    environment.filters["breakable"] = _breakable
    environment.globals["Verdict"] = Verdict
    environment.globals["self_test_verdict"] = self_test_verdict
    return environment


def _breakable(name: str) -> Markup:
    """Let a long name break after its underscores rather than inside a word."""
    return Markup("_<wbr>").join(printable(name).split("_"))


def _view(component: Component, anchor: str) -> ComponentView:
    cases = {
        id(case): CaseView(case, f"{anchor}-case-{i}", nonfinite(case))
        for i, case in enumerate(component.cases, 1)
    }
    by_id = {view.case.id: view for view in reversed(cases.values())}
    tightest, worst = tightest_gate(component), worst_case(component)
    heat, scatter = component.heat_map, component.scatter
    accuracy = component.accuracy_per_codebook
    return ComponentView(
        component=component,
        label=label(component),
        anchor=anchor,
        gates=[_gate_view(gate, by_id) for gate in component.gates],
        passed=sum(gate.verdict is not Verdict.FAIL for gate in component.gates),
        tightest=_gate_view(tightest, by_id) if tightest else None,
        cases=_shown(component, by_id),
        metrics=list(dict.fromkeys(name for case in component.cases for name in case.metrics)),
        worst=cases[id(worst)] if worst else None,
        heat=figures.heat_figure(heat) if heat else None,
        plots=figures.scatter_plots(scatter) if scatter else [],
        undrawn=figures.undrawn(scatter) if scatter else 0,
        # NaN compares as false with everything, and must not hide behind a good value.
        lowest_accuracy=min(accuracy, key=lambda a: a if a == a else -1.0, default=None),
    )


def _shown(component: Component, by_id: dict[str, CaseView]) -> list[CaseView]:
    """Return the cases to list, failed ones first; of very many, those that links lead to."""
    ordered = [by_id[case.id] for case in worst_first(component.cases)]
    linked = [by_id[gate.worst_case] for gate in component.gates if gate.worst_case in by_id]
    worst = worst_case(component)
    linked += [by_id[worst.id]] if worst else []
    shown = ordered[:_MOST_CASES]
    shown += [view for view in linked if view not in shown]
    return list({view.anchor: view for view in shown}.values())


def _gate_view(gate: Gate, cases: dict[str, CaseView]) -> GateView:
    value, limit = tell_apart(gate.value, gate.limit)
    return GateView(
        gate=gate,
        value=value,
        limit=limit,
        headroom=headroom(gate),
        bar=figures.gate_bar(gate),
        case=cases.get(gate.worst_case),
    )


def _number(value: float | None) -> Markup:
    return _loud(format_number(value))


def _loud(text: str) -> Markup:
    """Return a formatted number, marked where it is none."""
    if text.lstrip("-")[:1].isdigit():
        return escape(text)
    return Markup('<strong class="loud">{}</strong>').format(text)
