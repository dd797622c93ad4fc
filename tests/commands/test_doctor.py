"""The command doctor, and what a missing package does to others."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from vampnet_onnx.configs.extras import EXPORT_TOOLS, OPTIONAL, declared_versions
from vampnet_onnx.export.toolchain import toolchain


def test_a_missing_package_exits_with_3_and_names_the_remedy(
    cli: Cli, nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxsim" else found(name)
    )
    result = cli("export", "--checkpoint", nano, "--artifacts", tmp_path / "out")
    assert result.code == 3 and "onnxsim" in result.err and "pip install" in result.err
    examined = cli("doctor", "--json")
    assert examined.code == 3
    assert {f["what"]: f["ok"] for f in examined.json}["onnxsim"] is False


def test_doctor_says_what_is_there(cli: Cli) -> None:
    assert cli("doctor").code == 0
    found = {finding["what"]: finding for finding in cli("doctor", "--json").json}
    assert found["torch"]["found"] == metadata.version("torch")
    assert {"python", "onnx", "onnxruntime", "cores", "disk here"} <= set(found)


def test_doctor_prints_a_line_a_finding(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.of.mine")
    result = cli("doctor")
    lines = [line.split() for line in result.out.splitlines()]
    assert result.code == 0 and result.err == ""
    assert all(line[0] == "ok" for line in lines) and len(lines) > 10
    assert ["ok", "hub", "http://hub.of.mine"] in lines


def test_an_extra_that_is_left_out_is_neither_there_nor_a_lack(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name)
    )
    result = cli("doctor")
    (line,) = [line.split() for line in result.out.splitlines() if "matplotlib" in line]
    assert result.code == 0 and line[:4] == ["-", "matplotlib", "not", "installed;"]


def versions_found(cli: Cli) -> dict[str, dict[str, object]]:
    return {finding["what"]: finding for finding in cli("doctor", "--json").json}


def test_a_version_that_is_not_declared_is_named_with_the_way_out(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "1.2" if n == "onnx" else version(n))
    found = versions_found(cli)["onnx"]
    assert (found["found"], found["ok"]) == ("1.2", False)
    assert "pip install 'onnx<2,>=1.19" in str(found["remedy"])
    assert cli("doctor").code == 3


def test_another_package_of_the_same_runtime_is_taken_for_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version

    def only_the_gpu_one(name: str) -> str:
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return "1.23.2" if name == "onnxruntime-gpu" else version(name)

    monkeypatch.setattr(metadata, "version", only_the_gpu_one)
    kin = {"onnxruntime": ["onnxruntime-gpu"]}
    monkeypatch.setattr(metadata, "packages_distributions", lambda: kin)
    monkeypatch.setattr(metadata, "files", lambda _name: None)
    found = versions_found(cli)["onnxruntime"]
    assert (found["found"], found["ok"]) == ("1.23.2 (onnxruntime-gpu)", True)
    assert toolchain()["onnxruntime"] == "1.23.2"


def test_what_hides_a_package_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "onnxsim.py"
    other.write_text("")
    found, spec = importlib.util.find_spec, ModuleSpec("onnxsim", None, origin=str(other))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: spec if name == "onnxsim" else found(name)
    )
    hidden = versions_found(cli)["onnxsim"]
    assert hidden["ok"] is False and str(other) in str(hidden["found"])


def test_every_package_is_held_to_what_is_declared() -> None:
    for package in (*EXPORT_TOOLS, *OPTIONAL, "numpy", "onnxruntime", "soundfile"):
        assert str(declared_versions(package))
