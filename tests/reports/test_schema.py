"""The report as JSON: it follows its schema and reads back whole."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.support.report_samples import Sample, every_sample, failing_report
from vampnet_onnx import reports
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.reports import read_report, write_reports


def test_the_committed_schema_is_the_schema_of_the_code() -> None:
    committed = Path(reports.__file__).with_name("report.schema.json")
    assert committed.read_text(encoding="utf-8") == reports.json_schema(), (
        "write reports.json_schema() to reports/report.schema.json"
    )


@every_sample
def test_report_json_follows_the_schema_with_nan_and_infinity(
    sample: Sample, tmp_path: Path
) -> None:
    text = write_reports(sample(), tmp_path)["json"].read_text(encoding="utf-8")
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"bare {name} is no JSON"))
    validator = jsonschema.Draft202012Validator(json.loads(reports.json_schema()))
    validator.validate(data)
    if sample is failing_report:
        assert data["components"][1]["gates"][0]["value"] == "NaN"
        assert "Infinity" in data["components"][1]["scatter"]["export"]


@every_sample
def test_report_json_reads_back_to_the_same_report(sample: Sample, tmp_path: Path) -> None:
    path = write_reports(sample(), tmp_path)["json"]
    assert read_report(path).model_dump_json() == sample().model_dump_json()


@pytest.mark.parametrize(("figure", "list_"), [("heat_map", "rows"), ("scatter", "export")])
def test_a_figure_whose_lists_do_not_fit_is_refused(
    tmp_path: Path, figure: str, list_: str
) -> None:
    data = json.loads(failing_report().model_dump_json())
    drawn = next(c for c in data["components"] if c[figure])
    drawn[figure][list_].pop()
    (tmp_path / "report.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"not a report of this schema .*{figure}"):
        read_report(tmp_path / "report.json")


def test_a_report_of_the_first_schema_is_rendered(tmp_path: Path) -> None:
    data = json.loads(failing_report().model_dump_json())
    data["schema_version"] = 1
    del data["run"]
    for part in data["components"]:
        del part["seconds"]
        for case in part["cases"]:
            del case["seconds"]
    (tmp_path / "report.json").write_text(json.dumps(data))
    report = read_report(tmp_path / "report.json")
    page = write_reports(report, tmp_path / "out")["html"].read_text("utf-8")
    assert report.run is None and "Report schema 1." in page


@pytest.mark.parametrize("version", [0, 4])
def test_a_report_of_another_schema_is_refused_by_name(tmp_path: Path, version: int) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"schema_version": version, "of": "other words"}))
    with pytest.raises(
        InputError, match=f"schema {version}, and this program reads .* 1 to 3"
    ):
        read_report(path)
