"""The commands golden check and golden record."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.golden_sets import small_set
from tests.support.sets import GOLDEN
from tests.support.upstream_packages import python_with
from vampnet_onnx.__main__ import main
from vampnet_onnx.program import app


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["vampnet-onnx", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_missing_packages_give_one_message_and_exit_code_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Our own packages are on the path as ever; the published ones are not.
    python_with(tmp_path)
    monkeypatch.chdir(tmp_path)
    code = run_main(
        monkeypatch,
        "golden",
        "record",
        str(tmp_path / "out"),
        "--checkpoint",
        str(GOLDEN / "a"),
        "--upstream-python",
        "./python",  # this very file, no name to look up
    )
    message = capfd.readouterr().err
    assert code == 3
    assert "./python cannot run" in message
    assert "audiotools does not import" in message and "nox -s upstream" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_line_an_array_and_fails_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupt(arrays: dict[str, np.ndarray], _header: object) -> None:
        arrays["decode/0/audio"] = -arrays["decode/0/audio"]

    good = small_set(tmp_path / "good", keep=("decode/0",))
    bad = small_set(tmp_path / "bad", keep=("decode/0",), change=corrupt)
    monkeypatch.setattr(sys, "argv", ["vampnet-onnx"])
    passed = CliRunner().invoke(app, ["golden", "check", str(good)])
    assert passed.exit_code == 0
    failed = CliRunner().invoke(app, ["golden", "check", str(good), str(bad), "--json"])
    assert failed.exit_code == 1
    found = json.loads(failed.stdout)
    assert found["verdict"] == "FAIL"
    row = next(r for r in found["sets"][str(bad)] if r["quantity"] == "audio")
    assert row["verdict"] == "FAIL" and row["worst"] == pytest.approx(2.0)
    assert {r["verdict"] for r in found["sets"][str(good)]} == {"PASS"}
