"""The report as JUnit XML: a suite per component, a test case per gate, case and cause.

What has one cause is one failure: the test of the cause fails, and the gates and cases that it
broke are marked as skipped, with what was measured of them and where the failure is told.
"""

import re
from collections.abc import Collection
from xml.etree import ElementTree as ET

from .schema import Case, Cause, Component, Gate, Report, SelfTest, Verdict
from .summary import (
    describe_case,
    describe_cause,
    describe_gate,
    findings,
    follows,
    format_number,
    nonfinite,
    printable,
)

# XML 1.0 has no way at all to write these; `printable` already spells out most of them.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Report) -> str:
    """Return the report as JUnit XML.

    Ambiguous gates and cases are passed tests with the reason in ``system-out``.
    """
    root = ET.Element("testsuites", name=_clean(f"{report.model} {report.version}".strip()))
    failed = {p.id for p in report.components if p.verdict is Verdict.FAIL and not follows(p)}
    for component in report.components:
        root.append(_suite(component, failed))
    if report.self_test is not None:
        root.append(_self_test(report.self_test))
    # A failure that belongs to no gate and no case must turn a build red all the same.
    unnamed = [item for item in findings(report) if item.unnamed]
    if unnamed:
        suite = ET.SubElement(root, "testsuite", name="verdict")
        for item in unnamed:
            _test(
                suite, f"verdict {item.component}".strip(), item.verdict, item.text, item.text
            )
        _count(suite)
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    spent = sum(part.seconds for part in report.components)
    _time(root, report.run.seconds if report.run else spent)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _suite(component: Component, failed: Collection[str]) -> ET.Element:
    suite = ET.Element("testsuite", name=_clean(component.id))
    _time(suite, component.seconds)
    properties = ET.SubElement(suite, "properties")
    facts = [("file", component.file), ("sha256", component.sha256)]
    if component.cases:
        facts += [
            ("time of a case", "its share of the run's; cases that run at once share it")
        ]
    if component.ran > len(component.cases):
        facts += [("cases that ran", str(component.ran)), ("failed", str(component.failed))]
    for name, value in facts:
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    told = ""
    for cause in component.causes if component.verdict is Verdict.FAIL else ():
        # Of what only follows, the failure is that of the component it follows from.
        follows = cause.consequence_of in failed
        name = f"why {cause.component}" + (f", {cause.module}" if cause.module else "")
        told = told or (f"why {cause.consequence_of}" if follows else name)
        message, text = describe_cause(cause), _cause_text(component, cause)
        _test(suite, name, Verdict.FAIL, message, text, told_by=told if follows else "")
    for gate in component.gates:
        _test(suite, f"gate {gate.name}", gate.verdict, *_gate_texts(gate), told_by=told)
    for case in component.cases:
        texts = _case_texts(case)
        test = _test(suite, f"case {case.id}", case.verdict, *texts, told_by=told)
        _time(test, case.seconds)
    _count(suite)
    return suite


def _self_test(test: SelfTest) -> ET.Element:
    suite = ET.Element("testsuite", name="self-test")
    for trial in test.trials:
        verdict = Verdict.PASS if trial.caught else Verdict.FAIL
        text = f"{trial.description}; planted in {trial.culprit}"
        _test(suite, f"defect {trial.defect}", verdict, "slipped through every gate", text)
    for alarm in test.alarms:
        _test(suite, f"sound {alarm}", Verdict.FAIL, "false alarm", alarm)
    _count(suite)
    return suite


def _cause_text(component: Component, cause: Cause) -> str:
    lines = [describe_cause(cause), cause.case and f"in case {cause.case}"]
    lines += [cause.command and f"to look again: {cause.command}", ""]
    for gate in component.gates:
        if gate.verdict is Verdict.FAIL:
            lines += [f"gate {_gate_texts(gate)[0]}"]
    for case in component.cases:
        if case.verdict is Verdict.FAIL:
            lines += [f"case {case.id}: {_case_texts(case)[0]}"]
    return "\n".join(lines).strip()


def _gate_texts(gate: Gate) -> tuple[str, str]:
    where = f" in case {gate.worst_case}" if gate.worst_case else ""
    lines = [describe_gate(gate) + where, gate.message, f"why the limit: {gate.reason}"]
    message = ": ".join(filter(None, lines[:2]))
    return message, "\n".join(filter(None, lines))


def _case_texts(case: Case) -> tuple[str, str]:
    lines = [
        case.message,
        nonfinite(case),
        f"tokens excused as ties: {case.ambiguous}" if case.ambiguous else "",
        describe_case(case),
        *(f"{name} = {format_number(value)}" for name, value in case.metrics.items()),
    ]
    lines = [line for line in lines if line]
    return lines[0], "\n".join(lines)


def _test(
    suite: ET.Element,
    name: str,
    verdict: Verdict,
    message: str,
    text: str,
    *,
    told_by: str = "",
) -> ET.Element:
    """Add a test case; of one that failed, `told_by` names the test that is the failure."""
    where = suite.get("name", "")
    test = ET.SubElement(suite, "testcase", classname=where, name=_clean(name))
    if verdict is Verdict.FAIL and told_by:
        told = f"{verdict.value}, told as one failure by '{told_by}': {message}"
        ET.SubElement(test, "skipped", message=_clean(told))
        ET.SubElement(test, "system-out").text = _clean(text)
    elif verdict is Verdict.FAIL:
        failure = ET.SubElement(test, "failure", type=verdict.value, message=_clean(message))
        failure.text = _clean(text)
    elif verdict is Verdict.INTERRUPTED:
        ET.SubElement(test, "error", type=verdict.value, message=_clean(message))
    elif verdict is Verdict.AMBIGUOUS:
        ET.SubElement(test, "system-out").text = _clean(f"{verdict.value}: {text}")
    return test


def _time(element: ET.Element, seconds: float) -> None:
    element.set("time", f"{seconds:.3f}")


def _count(suite: ET.Element) -> None:
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", printable(text))
