"""The oldest ONNX Runtime: where its interpreter is, and that files of opset 18 run there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import compute, exported, saved
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.sides.runtimes import oldest
from vampnet_onnx.verify.sides.runtimes.oldest import BACKENDS, VARIABLE, interpreter

(OLDEST,) = BACKENDS


def test_it_is_found_where_nox_builds_it_or_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(oldest, "_CHECKOUT", tmp_path / "elsewhere")
    assert interpreter() is None
    assert "nox -s oldest" in OLDEST.lacks() and "onnxruntime==1.18.*" in OLDEST.lacks()
    built = tmp_path / "elsewhere" / "build" / "oldest" / "bin" / "python"
    built.parent.mkdir(parents=True)
    built.symlink_to(sys.executable)
    assert interpreter() == str(built)
    monkeypatch.setenv(VARIABLE, sys.executable)
    assert interpreter() == sys.executable


def test_a_variable_that_names_no_program_or_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "no-such-python")
    with pytest.raises(InputError, match=f"{VARIABLE}=no-such-python: no such program"):
        OLDEST.lacks()
    monkeypatch.setenv(VARIABLE, sys.executable)
    with pytest.raises(InputError, match=r"has ONNX Runtime .*, and oldest is 1\.18"):
        OLDEST.lacks()


def test_files_of_opset_18_say_version_8_and_run_there(
    models: ModelSet, tmp_path: Path
) -> None:
    graph = exported(models, "coarse", opset=18)
    assert graph.model.ir_version == 8
    path, codes = saved(graph, tmp_path), np.arange(10, dtype=np.int64).reshape(1, 2, 5)
    if OLDEST.lacks():
        pytest.skip("its interpreter is not here: nox -s oldest")
    with OLDEST.start(1) as running:
        assert running.what.startswith("ONNX Runtime 1.18.")
        found = running.open(path).run({"codes": codes})["logits"]
    np.testing.assert_allclose(
        found, compute(path, codes=codes)["logits"], rtol=1e-4, atol=1e-5
    )
