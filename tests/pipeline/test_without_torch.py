"""The pipeline and its commands run where torch is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.audio_files import RATE, tone
from vampnet_onnx import commands, pipeline

ROOT = Path(__file__).parents[2]

# What only the extra `export` brings, and what imports it.
BLOCKED = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxsim", "models", "export", "verify")

PRELUDE = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
sys.path.insert(0, {str(ROOT)!r})
"""


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *arguments],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_the_block_works(tmp_path: Path) -> None:
    done = python("import torch", cwd=tmp_path)
    assert done.returncode == 1 and "No module named 'torch'" in done.stderr


def modules() -> list[str]:
    return [
        f"{package.__name__}.{file.stem}"
        for package in (pipeline, commands)
        for file in sorted(Path(str(package.__file__)).parent.glob("*.py"))
    ]


def test_every_module_of_pipeline_and_commands_imports(tmp_path: Path) -> None:
    names = [*modules(), "vampnet_onnx"]
    assert "vampnet_onnx.pipeline.vamp" in names and "vampnet_onnx.commands.doctor" in names
    done = python(
        f"import importlib\nfor n in {names}: importlib.import_module(n)", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_vamping_from_artifacts_gives_what_it_gives_with_torch_installed(
    exported_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "in.wav", tone(channels=2), RATE)
    options = [
        "vamp",
        "in.wav",
        "{}.wav",
        "--artifacts",
        str(exported_a),
        "--save-tokens",
        "{}.npz",
        "--seed",
        "3",
    ]
    done = python(
        "import vampnet_onnx.__main__ as face; face.main()",
        *(option.format("without") for option in options),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    beside = subprocess.run(
        [sys.executable, "-m", "vampnet_onnx", *(option.format("with") for option in options)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert beside.returncode == 0
    with np.load(tmp_path / "without.npz") as one, np.load(tmp_path / "with.npz") as other:
        np.testing.assert_array_equal(one["codes"], other["codes"])
    assert (tmp_path / "without.wav").read_bytes() == (tmp_path / "with.wav").read_bytes()


def test_a_command_that_needs_torch_says_what_to_install(tmp_path: Path) -> None:
    done = python(
        "import vampnet_onnx.__main__ as face; face.main()",
        "make-checkpoint",
        "x",
        cwd=tmp_path,
    )
    assert done.returncode == 3
    assert "pip install 'vampnet-onnx[export]'" in done.stderr
