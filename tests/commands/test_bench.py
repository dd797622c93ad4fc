"""The command bench: a row for each network and length, with and without a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Cli, refused


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vampnet_onnx.verify.bench.FRAMES", (5, 9))


def test_both_runtimes_are_timed_beside_each_other(cli: Cli, store: Path, nano: Path) -> None:
    result = cli("bench", store, "--checkpoint", nano, "--threads", "1", "--json")
    assert result.code == 0
    found = result.json
    assert found["onnxruntime_threads"] == found["torch_threads"] == 1
    assert {"torch", "onnxruntime"} <= set(found["toolchain"])
    assert [(row["component"], row["frames"]) for row in found["timings"]] == [
        ("coarse", 5),
        ("coarse", 9),
    ]
    for row in found["timings"]:
        assert row["torch_ms"] > 0 and row["onnx_ms"] > 0
        assert row["ratio"] == pytest.approx(row["torch_ms"] / row["onnx_ms"])


def test_without_a_checkpoint_onnx_runtime_is_timed_alone(cli: Cli, store: Path) -> None:
    result = cli("bench", store)
    assert result.code == 0 and "medians of 5" in result.out
    header, first, second, *_ = (line.split() for line in result.out.splitlines())
    assert header[:2] == ["component", "frames"]
    assert (first[:2], second[:2]) == (["coarse", "5"], ["coarse", "9"])
    assert len(first) == 3 and float(first[2]) > 0  # no time of PyTorch


def test_checkpoints_of_another_set_are_refused(cli: Cli, store: Path, tmp_path: Path) -> None:
    assert cli("make-checkpoint", tmp_path / "other").code == 0
    other = ("--checkpoint", tmp_path / "other")
    refused(cli("bench", store, *other), "was not made from")
    refused(cli("bench", tmp_path / "none"), "no such folder")
