"""The command bench: what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Cli, refused
from tests.support.timings_samples import sample_bench
from vampnet_onnx.reports.timings import Bench
from vampnet_onnx.verify.bench.run import INTERRUPTED, PARTS, Asked


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Asked]]:
    """Have the bench give a sample; returns what it was asked."""

    def answer(**sample: Any) -> list[Asked]:
        seen: list[Asked] = []

        def bench(given: Asked, *_: object, **__: object) -> Bench:
            seen.append(given)
            return sample_bench(**sample)

        monkeypatch.setattr("vampnet_onnx.verify.bench.run.bench", bench)
        return seen

    return answer


def test_networks_are_timed_where_the_files_are(
    cli: Cli, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vampnet_onnx.verify.bench.components.LENGTHS", (0.05,))
    monkeypatch.setattr("vampnet_onnx.verify.bench.components.BATCHES", ())
    monkeypatch.chdir(store.parent)  # the processes run elsewhere
    result = cli("bench", store.name, "--cores", "1", "--rounds", "3", "--json")
    assert result.code == 0
    (row,) = result.json["rows"]
    assert (row["what"], row["cores"]) == ("coarse", 1)
    assert [t["contestant"] for t in row["timings"]] == ["onnx"]


def test_tables_and_files_tell_what_was_measured(
    cli: Cli, store: Path, tmp_path: Path, asked: Callable[..., list[Asked]]
) -> None:
    seen = asked()
    result = cli("bench", store, "--report", tmp_path / "report")
    assert result.code == 0 and seen[0].parts == ("components",)
    assert "1.25 (1.24 to 1.26)" in result.out and "no difference measured" in result.out
    assert "beside: beside 1.0" in result.out and "no spinning" in result.out
    assert (tmp_path / "report" / "bench.html").exists()
    assert "in place of" in cli("bench", store, "--report", tmp_path / "report").out


def test_everything_is_asked_for_with_one_option(
    cli: Cli, asked: Callable[..., list[Asked]]
) -> None:
    seen = asked()
    against = ("--against", "torch, torch-compile", "--cores", "1")
    assert cli("bench", "--like", "demo", "--whole", *against).code == 0
    assert cli("bench", "--like", "demo", "--against", "none").code == 0
    whole, alone = seen
    assert whole.parts == PARTS and whole.artifacts is None and list(whole.cores) == [1]
    assert [side.name for side in whole.sides] == ["onnx", "torch", "torch-compile"]
    assert [side.name for side in alone.sides] == ["onnx"]


@pytest.mark.parametrize(("stopped", "code"), [(INTERRUPTED, 130), ("torch fell over", 3)])
def test_what_was_measured_is_told_whatever_stopped_the_rest(
    cli: Cli, asked: Callable[..., list[Asked]], stopped: str, code: int
) -> None:
    asked(stopped=stopped)
    result = cli("bench", "--like", "demo")
    assert result.code == code and "1.25" in result.out
    assert f"{stopped}; what was measured until then is above" in result.err


def test_what_cannot_be_measured_is_refused(
    cli: Cli, store: Path, tmp_path: Path, config: Path
) -> None:
    assert cli("make-checkpoint", tmp_path / "other").code == 0
    other = ("--checkpoint", tmp_path / "other")
    refused(cli("bench", store, *other), "was not made from")
    refused(cli("bench", tmp_path / "none"), "no such folder")
    refused(cli("bench"), "--like SIZE")
    refused(cli("bench", store, "--against", "jax"), "known are torch, torch-compile")
    refused(cli("bench", store, "--beside", "nowhere"), "no such program")
    refused(cli("bench", store, "--cores", "two"), "write numbers")
    refused(cli("bench", store, "--cores", "0"), "at least one")
    refused(cli("bench", store, "--whole", "--only", "vamp"), "leave --only out")
    refused(cli("bench", store, "--report", config), "cannot be written")
