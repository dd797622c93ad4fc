"""The report as JUnit XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.support.report_samples import (
    Sample,
    every_sample,
    explained_report,
    failing_report,
    hostile_report,
)
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
        items = [*part.gates, *part.cases]
        assert len(tests) == len(items) + len(part.causes) == int(suite.get("tests", ""))
        failed = [item for item in items if item.verdict == "FAIL"]
        excused = [item for item in items if item.verdict == "AMBIGUOUS"]
        broken = suite.findall("testcase/failure") + suite.findall("testcase/skipped")
        assert len(broken) == len(failed) + len(part.causes)
        assert int(suite.get("failures", "")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped", "")) == len(suite.findall("testcase/skipped"))
        assert not excused or len(suite.findall("testcase/system-out")) == len(excused)
    assert int(root.get("failures", "")) == len(root.findall(".//failure"))


def test_one_cause_is_one_failure_and_nothing_that_failed_looks_passed() -> None:
    report = explained_report()
    root = ET.fromstring(render_junit(report))
    (failure,) = root.findall(".//failure")  # of c2f; the generation follows from it
    assert "transformer.layers.4" in failure.get("message", "")
    text = failure.text or ""
    assert "to look again: vampnet-onnx localise artifacts/v1" in text
    assert "gate logits_relative_l2 is NaN" in text and "case c2f-b2-l173" in text
    skipped = root.findall(".//skipped")
    assert len(skipped) == 2 + 4  # the generation's cause and gate; 3 gates and a case of c2f
    told = {item.get("message", "").partition(":")[0] for item in skipped}
    assert told == {
        "FAIL, told as one failure by 'why c2f, transformer.layers.4'",
        "FAIL, told as one failure by 'why c2f'",
    }
    # Where no cause is known, every gate and case that failed is a failure.
    assert len(ET.fromstring(render_junit(failing_report())).findall(".//failure")) == 4


def test_a_consequence_of_nothing_that_failed_is_a_failure_itself() -> None:
    report = explained_report()
    alone = report.model_copy(update={"components": [report.components[0]]})
    root = ET.fromstring(render_junit(alone))
    assert root.get("failures") == "1"


def test_times_are_those_of_the_run() -> None:
    root = ET.fromstring(render_junit(explained_report()))
    assert root.get("time") == "130.200"
    c2f, decoder = (
        root.find(f"testsuite[@name='{name}']") for name in ("c2f", "codec_decoder.fp16")
    )
    assert c2f is not None and decoder is not None and c2f.get("time") == "12.500"
    times = [case.get("time") for case in decoder.findall("testcase") if case.get("time")]
    assert times == ["0.250"] * 7
    told = {p.get("name"): p.get("value") for p in decoder.iter("property")}
    assert told["time of a case"] == "its share of the run's; cases that run at once share it"


def test_components_that_blame_each_other_are_failures() -> None:
    report = explained_report()
    whole, _, c2f, _ = report.components
    back = whole.causes[0].model_copy(update={"consequence_of": whole.id})
    circle = [whole, c2f.model_copy(update={"causes": [back]})]
    root = ET.fromstring(render_junit(report.model_copy(update={"components": circle})))
    assert root.get("failures") == "2"
