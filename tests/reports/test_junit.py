"""The report as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.support.report_samples import Sample, every_sample, hostile_report
from vampnet_onnx.reports.junit import render_junit


def test_hostile_text_is_text_in_junit() -> None:
    root = ET.fromstring(render_junit(hostile_report()))
    failure = root.find(".//failure")
    assert failure is not None
    assert "<script>alert(1)</script>" in failure.get("message", "")
    assert "\\x1b[31m" in (failure.text or "")


@every_sample
def test_junit_has_a_suite_a_component_and_a_test_a_gate_and_a_case(sample: Sample) -> None:
    report = sample()
    root = ET.fromstring(render_junit(report).encode())
    suites = root.findall("testsuite")
    assert len(suites) == len(report.components) > 0
    for suite, part in zip(suites, report.components, strict=True):
        tests = suite.findall("testcase")
        assert len(tests) == len(part.gates) + len(part.cases) == int(suite.get("tests", ""))
        failed = [item for item in (*part.gates, *part.cases) if item.verdict == "FAIL"]
        excused = [item for item in (*part.gates, *part.cases) if item.verdict == "AMBIGUOUS"]
        assert len(suite.findall("testcase/failure")) == len(failed)
        assert int(suite.get("failures", "")) == len(failed)
        assert len(suite.findall("testcase/system-out")) == len(excused)
    assert int(root.get("failures", "")) == len(root.findall(".//failure"))
