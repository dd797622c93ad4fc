"""The command release-all: each configuration by itself, the worst as exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Cli, Result, refused

MATRIX = "[verify]\nseeds = [0]\nframes = [1, 13]\nbatches = [1]\nthreads = 1\n"


@pytest.fixture
def folder(nano: Path, tmp_path: Path) -> Path:
    """Three configurations: one fails a gate, one has no checkpoint, one is sound."""
    made = tmp_path / "configs"
    made.mkdir()
    parts = "[export]\ncomponents = ['coarse']\n"
    for name, checkpoint, gates in (
        ("a-strict", nano, "[gates.transformer.relative_l2]\nlimit = 0.0\n"),
        ("b-lost", tmp_path / "lost", ""),
        ("c-sound", nano, ""),
    ):
        text = f"model = '{name}'\n[checkpoint]\npath = '{checkpoint}'\n"
        (made / f"{name}.toml").write_text(text + parts + MATRIX + gates)
    return made


def release_all(run: Cli, folder: Path, *more: object) -> Result:
    return run("release-all", folder, "--artifacts", "a", "--report", "r", *more)


def check(found: Result, tmp_path: Path) -> None:
    """Hold what was told and written to what the three come to."""
    assert found.code == 2, found.err
    rows = {row["name"]: row for row in found.json["releases"]}
    assert list(rows) == ["a-strict", "b-lost", "c-sound"]
    assert [row["code"] for row in rows.values()] == [1, 2, 0]
    assert [row["verdict"] for row in rows.values()] == ["FAIL", "", "PASS"]
    assert found.json["exit_code"] == 2
    assert "no such folder" in rows["b-lost"]["line"]
    assert rows["a-strict"]["folder"] == str(tmp_path / "a" / "a-strict" / "rejected")
    assert rows["c-sound"]["folder"] == str(tmp_path / "a" / "c-sound" / "v1")
    for name in ("a-strict", "c-sound"):
        report = json.loads((tmp_path / "r" / name / "report.json").read_text("utf-8"))
        assert report["model"] == name and report["verdict"] == rows[name]["verdict"]


def test_each_is_released_whatever_the_others_come_to(
    run: Cli, folder: Path, tmp_path: Path
) -> None:
    check(release_all(run, folder, "--json"), tmp_path)
    (folder / "a-strict.toml").unlink()
    told = release_all(run, folder)
    assert told.code == 2 and "error: b-lost: " in told.err
    lines = [line.split() for line in told.out.splitlines()]
    first, second = lines[1:3]
    assert lines[0] == ["configuration", "exit", "verdict", "version", "seconds"]
    assert first[:3] == ["b-lost", "2", "none"] and second[:3] == ["c-sound", "0", "PASS"]


def test_a_cluster_releases_the_same(run: Cli, folder: Path, tmp_path: Path) -> None:
    reason = "the extra cluster is not installed"
    distributed = pytest.importorskip("distributed", reason=reason)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as cluster:
        there = ("--scheduler", cluster.scheduler_address)
        found = release_all(run, folder, "--json", *there)
    check(found, tmp_path)
    rows = {row["name"]: row["worker"] for row in found.json["releases"]}
    assert not rows["b-lost"] and "tcp://" in rows["a-strict"] and "tcp://" in rows["c-sound"]


def test_a_folder_without_any_and_one_model_twice_are_refused(
    run: Cli, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "none").mkdir()
    refused(run("release-all", "none"), "none: has no configuration")
    refused(run("release-all", "nothere"), "nothere: there is no such folder")
    refused(run("release-all", folder / "c-sound.toml"), "c-sound.toml: is no folder")
    text = (folder / "c-sound.toml").read_text()
    (folder / "d-again.toml").write_text(text)
    refused(release_all(run, folder), "d-again.toml: its model 'c-sound' is that of")
    assert not (tmp_path / "a").exists()
