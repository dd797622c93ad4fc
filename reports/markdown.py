"""The report as Markdown (GitHub's flavour), for a release page or a job's summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .schema import Component, Report, Verdict
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
)

_MARKS = {Verdict.PASS: "✅ PASS", Verdict.AMBIGUOUS: "⚠️ AMBIGUOUS", Verdict.FAIL: "❌ FAIL"}
# An underscore inside a word, as in metric names, is no markup and stays readable.
_MARKUP = re.compile(r"[\\`*\[\]|~#$!]|(?<![^\W_])_|_(?![^\W_])")


def render_markdown(report: Report) -> str:
    """Return the report as Markdown text."""
    return (
        "\n".join(
            [*_head(report), *_components(report), *_self_test(report), *_provenance(report)]
        )
        + "\n"
    )


def escape(text: str) -> str:
    """Return `text` as it must stand in Markdown to be read as written, on one line."""
    line = " ".join(printable(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(lambda m: "\\" + m.group(), line)


def _self_test(report: Report) -> Iterator[str]:
    test = report.self_test
    if test is None:
        return
    caught = sum(trial.caught for trial in test.trials)
    named = sum(trial.right for trial in test.trials)
    yield "## Self-test of the harness"
    yield ""
    yield f"{_MARKS[self_test_verdict(test)]}: {caught} of {len(test.trials)} defects planted"
    yield f"on purpose were caught, {named} named by their module; {len(test.alarms)} false"
    yield f"alarms in {test.sound_runs} runs of sound exports."
    yield ""
    yield from (f"- false alarm: {escape(alarm)}" for alarm in test.alarms)
    yield from _table(
        ("defect", "what it is", "in", "caught by", "module named"),
        (
            (
                escape(trial.defect),
                escape(trial.description),
                escape(trial.component),
                escape(", ".join(trial.gates) or "nothing"),
                escape(trial.named or "refused before")
                + ("" if trial.right else f" (was in {escape(trial.culprit)})"),
            )
            for trial in test.trials
        ),
    )
    yield ""


def _head(report: Report) -> Iterator[str]:
    yield f"# {_MARKS[report.verdict]}: {escape(report.verdict_line)}"
    yield ""
    if report.random_weights:
        yield "> **Random weights.** This run compares the export with the reference on"
        yield "> weights drawn at random; it says nothing about the published checkpoints."
        yield ""
    found = findings(report)
    if found:
        failed = report.verdict is Verdict.FAIL
        yield f"## What {'did not pass' if failed else 'was excused'}"
        yield ""
        yield from (f"- {_MARKS[item.verdict]}: {escape(item.text)}" for item in found)
        yield ""
    published = f"version {escape(report.version)}" if report.version else "not published"
    yield f"Model {escape(report.model)}, {published}, opset {report.opset};"
    yield f"compared with {escape(report.reference)}."
    yield ""
    yield from (f"- {escape(note)}" for note in report.notes)
    yield ""


def _components(report: Report) -> Iterator[str]:
    yield "## Components"
    yield ""
    yield from _table(
        ("component", "verdict", "gates that hold", "cases", "tightest gate", "headroom"),
        (_overview(component) for component in report.components),
    )
    for component in report.components:
        yield f"### {escape(label(component))}: {_MARKS[component.verdict]}"
        yield ""
        yield from _gates(component)
        yield from _worst(component)
        yield from _bad_seeds(component)


def _overview(component: Component) -> tuple[str, ...]:
    tightest = tightest_gate(component)
    passed = sum(gate.verdict is not Verdict.FAIL for gate in component.gates)
    return (
        escape(label(component)),
        _MARKS[component.verdict],
        f"{passed} of {len(component.gates)}",
        str(len(component.cases)),
        escape(tightest.name) if tightest else "none",
        headroom(tightest) if tightest else "none",
    )


def _gates(component: Component) -> Iterator[str]:
    rows = []
    for gate in component.gates:
        value, limit = tell_apart(gate.value, gate.limit)
        unit = f" {escape(gate.unit)}" if gate.unit else ""
        rows.append(
            (
                escape(gate.name),
                value if gate.value is None else f"{value}{unit}",
                f"{gate.direction} {limit}{unit}",
                _MARKS[gate.verdict],
                headroom(gate),
                escape(gate.worst_case),
                escape(gate.reason),
            )
        )
    yield from _table(
        ("gate", "value", "limit", "verdict", "headroom", "worst case", "reason"), rows
    )


def _worst(component: Component) -> Iterator[str]:
    case = worst_case(component)
    if case is None:
        return
    values = [f"{name} = {format_number(value)}" for name, value in case.metrics.items()]
    text = "; ".join(
        [describe_case(case), *values, *filter(None, [nonfinite(case), case.message])]
    )
    yield f"Worst {escape(text)}."
    yield ""


def _bad_seeds(component: Component) -> Iterator[str]:
    if not component.bad_seeds:
        return
    yield "Seeds that failed:"
    yield ""
    yield from _table(
        ("seed", "cases that failed", "not finite (reference / export)", "to run it again"),
        (
            (
                str(bad.seed),
                f"{bad.failed} of {bad.cases}",
                f"{bad.nonfinite_reference} / {bad.nonfinite_export}",
                escape(bad.replay),
            )
            for bad in component.bad_seeds
        ),
    )


def _provenance(report: Report) -> Iterator[str]:
    yield "## Toolchain"
    yield ""
    yield from _table(
        ("tool", "version"),
        ((escape(tool), escape(version)) for tool, version in report.toolchain.items()),
    )
    yield "## Sources"
    yield ""
    yield from _table(
        ("file", "weights", "bytes", "SHA-256"),
        (
            (escape(s.name), escape(s.label), str(s.size), escape(s.sha256))
            for s in report.sources
        ),
    )
    yield "## Exported files"
    yield ""
    yield from _table(
        ("component", "file", "SHA-256"),
        ((escape(label(c)), escape(c.file), escape(c.sha256)) for c in report.components),
    )
    seeds = ", ".join(map(str, report.seeds))
    yield f"Seeds: {seeds}. Report schema {report.schema_version}."


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    yield from ("| " + " | ".join(row) + " |" for row in rows)
    yield ""
