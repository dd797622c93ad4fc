"""The report schema and its renderings: JSON, Markdown, HTML, JUnit."""

from .render import has_report, require_report_place, write_reports, written_reports
from .schema import (
    SCHEMA_VERSION,
    BadSeed,
    Case,
    Cause,
    Component,
    DefectTrial,
    Gate,
    HeatMap,
    Report,
    Scatter,
    SelfTest,
    Source,
    Verdict,
    json_schema,
    read_report,
    report_json,
)

__all__ = [
    "SCHEMA_VERSION",
    "BadSeed",
    "Case",
    "Cause",
    "Component",
    "DefectTrial",
    "Gate",
    "HeatMap",
    "Report",
    "Scatter",
    "SelfTest",
    "Source",
    "Verdict",
    "has_report",
    "json_schema",
    "read_report",
    "report_json",
    "require_report_place",
    "write_reports",
    "written_reports",
]
