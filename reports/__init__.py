"""The report schema and its renderings: JSON, Markdown, HTML, JUnit."""

from .render import write_reports
from .schema import (
    SCHEMA_VERSION,
    BadSeed,
    Case,
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
)

__all__ = [
    "SCHEMA_VERSION",
    "BadSeed",
    "Case",
    "Component",
    "DefectTrial",
    "Gate",
    "HeatMap",
    "Report",
    "Scatter",
    "SelfTest",
    "Source",
    "Verdict",
    "json_schema",
    "read_report",
    "write_reports",
]
