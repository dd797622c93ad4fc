"""Versions of a store made by hand: one file and its manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vampnet_onnx.configs.files import sha256, staging_folder
from vampnet_onnx.configs.manifest import (
    ComponentRecord,
    FileRecord,
    GateRecord,
    Manifest,
    SourceRecord,
    TensorSignature,
)
from vampnet_onnx.configs.store import publish, write_manifest
from vampnet_onnx.configs.verification import Matrix, Verification


def staged_version(
    folder: Path, content: bytes = b"graph", gates: tuple[GateRecord, ...] = ()
) -> Path:
    """Make a folder that looks like an export: one file and its manifest."""
    folder.mkdir(parents=True)
    (folder / "coarse.onnx").write_bytes(content)
    signature = (TensorSignature(name="codes", dtype="int64", shape=("batch", 2, "frames")),)
    manifest = Manifest(
        model="mine",
        random_weights=True,
        sources=(SourceRecord(name="coarse.pth", sha256="0" * 64, size=1),),
        toolchain={"torch": "2"},
        components=(
            ComponentRecord(
                name="coarse",
                file=FileRecord(
                    name="coarse.onnx",
                    sha256=hashlib.sha256(content).hexdigest(),
                    size=len(content),
                ),
                inputs=signature,
                outputs=signature,
                opset=20,
                dims={},
                passes=(),
            ),
        ),
        gates=gates,
    )
    write_manifest(folder, manifest)
    return folder


def published(home: Path, tmp_path: Path, content: bytes = b"graph", **options: Any) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    with staging_folder(home) as staging:
        staged = staged_version(staging / "x", content)
        return publish(staged, home, **options)[0]


def verification_of(folder: Path, **changed: Any) -> Verification:
    """Return what a version carries that was verified."""
    values: dict[str, Any] = {
        "verdict": "PASS",
        "verdict_line": "PASS: all gates hold.",
        "reference": "our models",
        "gates": (),
        "manifest_sha256": sha256(folder / "manifest.json"),
        "report_sha256": "1" * 64,
        "toolchain": {"torch": "2"},
        "date": "2026-01-02T03:04:05+00:00",
        "matrix": Matrix(seeds=(0,), frames=(1,), batches=(1,), cases=1),
    }
    return Verification(**(values | changed))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def vouch_for_all(folder: Path) -> None:
    """Make a manifest vouch for the files that are there."""

    def vouch(values: dict[str, Any]) -> None:
        for record in values["components"]:
            found = FileRecord.of(folder / record["file"]["name"])
            record["file"] = found.model_dump(mode="json")

    edit(folder, vouch)
