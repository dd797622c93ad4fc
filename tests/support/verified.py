"""Versions with a verification of the whole matrix, and the report that goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.report_samples import passing_report
from tests.support.versions import verification_of
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.configs.verification import Matrix, write_verification
from vampnet_onnx.reports import Component, write_reports
from vampnet_onnx.verify.gates.report import gate_records


def part_of(record: ComponentRecord) -> Component:
    """Return what a report says of a component that passed."""
    names = {"name": record.name, "variant": record.variant, "sha256": record.file.sha256}
    return passing_report().components[0].model_copy(update=names)


def verify_as_if(
    folder: Path, report: Path, *, told: dict[str, Any] | None = None, **changed: Any
) -> None:
    """Write a verification into a version's folder, and its report.

    Args:
        told: what the report tells otherwise.
        changed: of the verification.
    """
    sample = passing_report().model_copy(update={"version": folder.name})
    manifest = read_manifest(folder)
    parts = [part_of(record) for record in manifest.components]
    of_these = {"components": parts, "model": manifest.model}
    found = sample.model_copy(update=of_these | (told or {}))
    files = write_reports(found, report)
    whole = shipped("defaults.toml")["verify"]
    axes = {name: tuple(whole[name]) for name in ("seeds", "frames", "batches")}
    values = {
        "gates": gate_records(found),
        "report_sha256": sha256(files["json"]),
        "matrix": Matrix(**axes, cases=9),
    }
    write_verification(folder, verification_of(folder, **(values | changed)))
