"""Our own source that makes graphs has a digest."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import pytest

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.export.toolchain import source_hash


def test_a_manifest_names_the_source_that_made_it(nano_artifacts: Artifacts) -> None:
    assert len(source_hash()) == 64 and nano_artifacts.manifest.source == source_hash()


@pytest.mark.parametrize(
    "file, moves",
    [
        ("export/passes/linear.py", True),
        ("models/networks/vampnet.py", True),
        ("configs/reference_defaults.toml", True),
        ("configs/gates.toml", False),
    ],
)
def test_the_digest_is_of_what_makes_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, moves: bool
) -> None:
    installed = resources.files
    for folder in ("models", "export", "configs"):
        shutil.copytree(str(installed(f"vampnet_onnx.{folder}")), tmp_path / folder)
    monkeypatch.setattr(resources, "files", lambda name: tmp_path / name.split(".")[1])
    assert source_hash.__wrapped__() == source_hash()
    with (tmp_path / file).open("a") as stream:
        stream.write("# changed\n")
    assert (source_hash.__wrapped__() != source_hash()) == moves
