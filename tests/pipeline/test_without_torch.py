"""The pipeline and its commands run where torch is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.audio_files import RATE, tone
from tests.support.blocked import FACE, python_without
from tests.support.hub_server import Hub, serve
from tests.support.versions import verification_of
from vampnet_onnx import commands, pipeline

# What only the extra `export` brings, and what imports it.
BLOCKED = (
    *("torch", "onnx", "onnx_ir", "onnxscript", "onnxsim"),
    *("vampnet_onnx.models", "vampnet_onnx.export", "vampnet_onnx.verify"),
)


def python(code: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return python_without(BLOCKED, code, *arguments, cwd=cwd)


def test_the_block_works(tmp_path: Path) -> None:
    for name in BLOCKED:
        done = python(f"import {name}", cwd=tmp_path)
        assert done.returncode == 1 and "ModuleNotFoundError" in done.stderr, name


def modules() -> list[str]:
    names = []
    for package in (pipeline, commands):
        folder = Path(str(package.__file__)).parent
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            names.append(".".join((package.__name__, *parts)))
    return names


def test_every_module_of_pipeline_and_commands_imports(tmp_path: Path) -> None:
    names = [*modules(), "vampnet_onnx"]
    assert {"vampnet_onnx.pipeline.vamp", "vampnet_onnx.pipeline.steps.codec"} <= set(names)
    assert "vampnet_onnx.commands.doctor" in names
    done = python(
        f"import importlib\nfor n in {names}: importlib.import_module(n)", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_vamping_from_artifacts_gives_what_it_gives_with_torch_installed(
    exported_a: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "in.wav", tone(channels=2), RATE)

    def options(name: str) -> list[str]:
        files = ["vamp", "in.wav", f"{name}.wav", "--save-tokens", f"{name}.npz"]
        return [*files, "--artifacts", str(exported_a), "--seed", "3"]

    done = python(FACE, *options("without"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    beside = subprocess.run(
        [sys.executable, "-m", "vampnet_onnx", *options("with")], cwd=tmp_path, check=False
    )
    assert beside.returncode == 0
    with np.load(tmp_path / "without.npz") as one, np.load(tmp_path / "with.npz") as other:
        np.testing.assert_array_equal(one["codes"], other["codes"])
    assert (tmp_path / "without.wav").read_bytes() == (tmp_path / "with.wav").read_bytes()


def test_vamping_from_a_hub_gives_what_the_folder_gives(
    exported_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "in.wav", tone(), RATE)
    files = {path.name: path.read_bytes() for path in exported_a.iterdir()}
    found = verification_of(exported_a).model_dump_json()
    files["verification.json"] = found.encode()
    for name, value in {
        "HF_HOME": str(tmp_path / "hf-home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "VAMPNET_ONNX_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)

    def tokens(artifacts: object) -> np.ndarray:
        options = ("in.wav", "out.wav", "--save-tokens", "out.npz", "--seed", "3")
        done = python(FACE, "vamp", *options, "--artifacts", artifacts, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / "out.npz") as saved:
            return np.asarray(saved["codes"])

    with serve(Hub("somebody/music", files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        fetched = tokens("hub:somebody/music")
        assert len(hub.downloads()) == len(files)
        pinned = tokens(f"hub:somebody/music@{hub.head}")
        assert len(hub.downloads()) == len(files), "it was there"
    np.testing.assert_array_equal(fetched, tokens(exported_a))
    np.testing.assert_array_equal(pinned, fetched)


def test_noise_of_torch_says_what_to_install(exported_a: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", tone(), RATE)
    options = ("in.wav", "out.wav", "--artifacts", exported_a, "--noise", "torch")
    done = python(FACE, "vamp", *options, cwd=tmp_path)
    assert done.returncode == 3
    assert "this needs torch" in done.stderr
    assert "pip install 'vampnet-onnx[export]'" in done.stderr
    asked = python("import vampnet_onnx; vampnet_onnx.TorchDraws", cwd=tmp_path)
    assert "EnvironmentLacksError: this needs torch" in asked.stderr


def test_a_command_that_needs_torch_says_what_to_install(tmp_path: Path) -> None:
    done = python(FACE, "make-checkpoint", "x", cwd=tmp_path)
    assert done.returncode == 3
    assert "pip install 'vampnet-onnx[export]'" in done.stderr


def test_fetching_needs_no_torch(tmp_path: Path) -> None:
    done = python(FACE, "fetch", "x", "--only", "decoder", cwd=tmp_path)
    assert done.returncode == 2 and "no component 'decoder'" in done.stderr, done.stderr
