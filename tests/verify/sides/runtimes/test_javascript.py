"""ONNX Runtime in Node and in a browser: arrays there and back, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import compute, record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.verify.sides.runtimes import javascript
from vampnet_onnx.verify.sides.runtimes.backend import all_backends
from vampnet_onnx.verify.subjects.registry import subject_of

BOTH = pytest.mark.parametrize("name", ["node", "web"])


@BOTH
def test_a_graph_gives_there_what_it_gives_here(
    name: str, nano_artifacts: Artifacts, generator_artifacts: Artifacts, tmp_path: Path
) -> None:
    backend = all_backends()[name]
    if lacks := backend.lacks():
        pytest.skip(f"{name}: {lacks}")
    encoder = nano_artifacts.path(record_of(nano_artifacts, "codec_encoder"))
    coarse = generator_artifacts.path(record_of(generator_artifacts, "coarse"))
    audio = np.linspace(-1, 1, 480, dtype=np.float32).reshape(2, 1, 240)
    codes = np.arange(10, dtype=np.int64).reshape(1, 2, 5)
    with backend.start(1) as running:
        assert running.what.startswith(f"onnxruntime-{name} 1.")
        sides = (
            running.open(encoder),
            running.open(coarse),
        )  # the second has its weights beside
        for _ in range(2):
            for graph, inputs in zip(sides, ({"audio": audio}, {"codes": codes}), strict=True):
                wanted, found = compute(graph.path, **inputs), graph.run(inputs)
                assert found.keys() == wanted.keys()
                for key, array in wanted.items():
                    assert found[key].dtype == array.dtype
                    np.testing.assert_allclose(found[key], array, atol=1e-5)
        (tmp_path / "none.onnx").write_bytes(b"no graph")
        with pytest.raises(InputError, match="cannot load it"):
            running.open(tmp_path / "none.onnx")
        with pytest.raises(InputError, match="does not run"):
            sides[1].run({"codes": codes.astype(np.float32)})
        record = record_of(generator_artifacts, "coarse.generator")
        case = subject_of(record).one_case(record, seed=3, batch=2, frames=11)
        inputs = subject_of(record).inputs(record, case)  # scalars, uint64 and bool among them
        path = generator_artifacts.path(record)
        wanted, found = compute(path, **inputs), running.open(path).run(inputs)
        for key, array in wanted.items():
            if array.dtype.kind in "iub":
                np.testing.assert_array_equal(found[key], array, key)


@BOTH
def test_what_is_missing_is_said_with_the_line_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backend = all_backends()[name]
    monkeypatch.setattr(javascript, "_WEB", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert f"onnxruntime-{name} is not installed; " in backend.lacks()
    assert "npm ci --prefix web" in backend.lacks()
    assert ("apt-get install chromium" in backend.lacks()) == (name == "web")
    (tmp_path / "node_modules" / f"onnxruntime-{name}").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "node is not there" in backend.lacks()
