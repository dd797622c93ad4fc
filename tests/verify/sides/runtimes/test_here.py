"""Runtimes of this process: that each is what its name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from tests.support.exports import compute, record_of, with_weights_outside
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.version import session as sessions
from vampnet_onnx.verify.sides.runtimes.backend import chosen_backends

CODES = np.arange(10, dtype=np.int64).reshape(1, 2, 5)
LEVELS = ort.GraphOptimizationLevel


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("default", [(LEVELS.ORT_ENABLE_ALL, 0, ort.ExecutionMode.ORT_SEQUENTIAL)]),
        ("threads2", [(LEVELS.ORT_ENABLE_ALL, 2, ort.ExecutionMode.ORT_SEQUENTIAL)]),
        ("basic", [(LEVELS.ORT_ENABLE_BASIC, 0, ort.ExecutionMode.ORT_SEQUENTIAL)]),
        ("off", [(LEVELS.ORT_DISABLE_ALL, 0, ort.ExecutionMode.ORT_SEQUENTIAL)]),
        ("parallel", [(LEVELS.ORT_ENABLE_ALL, 0, ort.ExecutionMode.ORT_PARALLEL)]),
        (
            "saved",
            [
                (LEVELS.ORT_ENABLE_ALL, 0, ort.ExecutionMode.ORT_SEQUENTIAL),
                (LEVELS.ORT_DISABLE_ALL, 0, ort.ExecutionMode.ORT_SEQUENTIAL),
            ],
        ),
    ],
)
def test_onnx_runtime_is_opened_as_the_name_says(
    name: str, facts: list[Any], nano_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, load = [], sessions._load

    def watched(path: Path, options: Any, providers: list[Any]) -> Any:
        seen.append(
            (
                options.graph_optimization_level,
                options.intra_op_num_threads,
                options.execution_mode,
            )
        )
        return load(path, options, providers)

    monkeypatch.setattr(sessions, "_load", watched)
    path = nano_artifacts.path(record_of(nano_artifacts, "coarse"))
    (backend,) = chosen_backends([name])
    with backend.start(0) as running:
        graph = running.open(path)
        found = graph.run({"codes": CODES})["logits"]
    assert seen == facts and running.what.startswith(f"ONNX Runtime {ort.__version__}, ")
    assert graph.path == path and graph.metadata
    np.testing.assert_allclose(found, compute(path, codes=CODES)["logits"], atol=1e-5)


@pytest.mark.parametrize("name", ["saved", "onnx-reference", "openvino"])
def test_weights_in_files_of_their_own_are_found(
    name: str, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    opened = with_weights_outside(nano_artifacts.folder, tmp_path / "v1")
    path = opened.path(record_of(opened, "coarse"))
    (backend,) = chosen_backends([name])
    if backend.lacks():
        pytest.skip(backend.lacks())
    with backend.start(1) as running:
        found = running.open(path).run({"codes": CODES})["logits"]
    np.testing.assert_allclose(found, compute(path, codes=CODES)["logits"], atol=1e-5)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(
        [*(f.name for f in opened.manifest.files()), "manifest.json"]
    ), "a runtime wrote beside the files"


@pytest.mark.parametrize("name", ["default", "saved", "onnx-reference", "openvino"])
def test_what_cannot_be_loaded_or_run_is_said(
    name: str, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    path = nano_artifacts.path(record_of(nano_artifacts, "coarse"))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(path.read_bytes()[:-99])
    (backend,) = chosen_backends([name])
    if backend.lacks():
        pytest.skip(backend.lacks())
    with backend.start(1) as running:
        with pytest.raises(InputError, match=r"damaged\.onnx: .*cannot load it"):
            running.open(damaged)
        with pytest.raises(InputError, match=r"coarse\.onnx: does not run"):
            running.open(path).run({"nothing": CODES})


def test_openvino_that_is_not_installed_says_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vampnet_onnx.configs.extras.is_installed", lambda _name: False)
    (backend,) = chosen_backends(["openvino"])
    assert "pip install 'vampnet-onnx[openvino]'" in backend.lacks()
