"""Exporting in tests: sets once a session, single components on demand."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.cache import cache_folder
from vampnet_onnx.configs.config import Config, config_from
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.adapters import Adapter
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.export_set import export_set
from vampnet_onnx.export.exporter import Exported, export_component
from vampnet_onnx.export.graph_cache import GraphCache
from vampnet_onnx.export.onnx_file import read_graph, save_graph
from vampnet_onnx.models import Checkpoints, ModelSet, open_models


def config_for(checkpoint: Path, *, model: str = "mine", **changed: object) -> Config:
    """Return a configuration that exports every entry, but for what is changed of that."""
    values = {
        "model": model,
        "checkpoint": {"path": checkpoint},
        "export": {"inputs": ["codes", "latents"]} | changed,
    }
    return config_from(values, source="test")


def export_to(
    folder: Path,
    checkpoint: Path,
    *,
    lora: Mapping[str, Path] = {},
    adapters: Sequence[Adapter] = (),
    **changed: object,
) -> Artifacts:
    folder.mkdir(parents=True)
    checkpoints = Checkpoints(checkpoint, lora)
    config = config_for(checkpoint, **changed)  # type: ignore[arg-type]
    export_set(
        config,
        checkpoints,
        folder,
        adapters=adapters,
        cache=GraphCache(cache_folder()),  # of this run of the tests
        progress=lambda *_: None,
    )
    return open_artifacts(folder)


def exported(
    models: ModelSet | Path, name: str, *, variant: str = "", opset: int = 20
) -> Exported:
    found = open_models(models) if isinstance(models, Path) else models
    return export_component(build_component(name, found, variant=variant), opset=opset)


def saved(graph: Exported, folder: Path) -> Path:
    path = folder / f"{graph.component.id}.onnx"
    save_graph(graph.model, path)
    return path


def session(model: Path | bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    source = str(model) if isinstance(model, Path) else model
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def compute(model: Path | bytes, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Run a file with ONNX Runtime itself, nothing of ours in between."""
    found = session(model)
    names = [item.name for item in found.get_outputs()]
    return dict(zip(names, found.run(None, inputs), strict=True))


def record_of(artifacts: Artifacts, name: str) -> ComponentRecord:
    record = artifacts.manifest.component(name)
    assert record is not None, f"no component {name}"
    return record


def without(folder: Path, target: Path, *names: str) -> Path:
    """Copy a version without some components."""
    shutil.copytree(folder, target)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["components"] = [c for c in manifest["components"] if c["name"] not in names]
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def only(artifacts: Artifacts, *names: str) -> Artifacts:
    kept = tuple(r for r in artifacts.manifest.components if r.id in names)
    return dataclasses.replace(
        artifacts, manifest=artifacts.manifest.model_copy(update={"components": kept})
    )


_OPENED: dict[tuple[Path, str], Any] = {}


def session_of(artifacts: Artifacts, name: str) -> Any:
    key = (artifacts.folder, name)
    if key not in _OPENED:
        _OPENED[key] = session(artifacts.path(record_of(artifacts, name)))
    return _OPENED[key]


def with_weights_outside(folder: Path, target: Path) -> Artifacts:
    """Copy a version and put all its weights into files of their own, as the manifest says."""
    shutil.copytree(folder, target)
    manifest = json.loads((target / "manifest.json").read_text())
    for record in manifest["components"]:
        path = target / record["file"]["name"]
        file, data = save_graph(read_graph(path), path, external=True)
        record["file"] = file.model_dump(mode="json")
        record["data"] = data.model_dump(mode="json") if data is not None else None
    (target / "manifest.json").write_text(json.dumps(manifest))
    return open_artifacts(target)
