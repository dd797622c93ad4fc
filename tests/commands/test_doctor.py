"""The command doctor, and what a missing package does to others."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from tests.support.command_line import Cli


def test_a_missing_package_exits_with_3_and_names_the_remedy(
    cli: Cli, nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxsim" else found(name)
    )
    result = cli("export", "--checkpoint", nano, "--out", tmp_path / "out")
    assert result.code == 3 and "onnxsim" in result.err and "pip install" in result.err
    examined = cli("doctor", "--json")
    assert examined.code == 3
    assert {f["what"]: f["ok"] for f in examined.json}["onnxsim"] is False


def test_doctor_says_what_is_there(cli: Cli) -> None:
    assert cli("doctor").code == 0
    found = {finding["what"]: finding for finding in cli("doctor", "--json").json}
    assert found["torch"]["found"] == torch.__version__.partition(" ")[0]
    assert {"python", "onnx", "onnxruntime", "cores", "disk here"} <= set(found)


def test_doctor_prints_a_line_a_finding(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.of.mine")
    result = cli("doctor")
    lines = [line.split() for line in result.out.splitlines()]
    assert result.code == 0 and result.err == ""
    assert all(line[0] == "ok" for line in lines) and len(lines) > 10
    assert ["ok", "hub", "http://hub.of.mine"] in lines
