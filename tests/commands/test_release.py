"""The command release: verified artifacts are published once, others never."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path

import pytest

from tests.support.command_line import Cli, files_below, process, refused
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.store import versions
from vampnet_onnx.configs.verification import VERIFICATION_NAME, read_verification
from vampnet_onnx.reports import read_report, render
from vampnet_onnx.reports.history import read_history


@pytest.mark.parametrize(
    "text, words",
    [
        ("modle = 'x'", "did you mean 'model'?"),
        ("model =", "not a TOML file"),
        ("model = 'x'\n[checkpoint]\npath = 'none'\n", "no such folder"),
        ("model = 'x'\n[checkpoint]\nlike = 'huge'\n", "no size 'huge'"),
        ("model = 'x'\n[checkpoint]\nlike = 'tiny'\n[gates.coarse.x]\nlimit = 1\n", "no such"),
    ],
)
def test_a_bad_configuration_is_refused(
    cli: Cli, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    out = tmp_path / "out"
    refused(cli("release", path, "--artifacts", out, "--report", tmp_path / "report"), words)
    assert files_below(out) == [] and not (tmp_path / "report").exists()


def test_a_release_publishes_verified_artifacts_once(
    cli: Cli, whole: Path, tmp_path: Path
) -> None:
    arguments = ("release", whole, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    first = cli(*arguments, "--json")
    assert first.code == 0 and first.json["published"] and first.json["new"]
    assert "RANDOM WEIGHTS" in first.json["verdict_line"]
    folder = tmp_path / "a/nano/v1"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["gates"] == [] and manifest["random_weights"] is True
    found = read_verification(folder)
    assert found is not None and found.gates and found.matrix.cases == 30
    assert found.report_sha256 == sha256(tmp_path / "r" / "report.json")
    (folder / VERIFICATION_NAME).unlink()
    again = cli(*arguments)
    assert again.code == 0 and "unchanged, already published" in again.out
    assert "counts as verified" in again.out and read_verification(folder) is not None
    assert sorted(p.name for p in (tmp_path / "a/nano").iterdir()) == ["history.jsonl", "v1"]
    whole.write_text(whole.read_text() + "[gates.transformer.relative_l2]\nlimit = 0.0\n")
    failed = cli(*arguments)  # the same files, which are found wanting now
    assert failed.code == 1 and "rejected" in failed.out
    assert read_verification(folder) is None
    runs = read_history(tmp_path / "a/nano/history.jsonl")
    assert [(run.verdict, run.version) for run in runs] == [
        *(("PASS", "v1"), ("PASS", "v1"), ("FAIL", "")),
    ]
    assert "history.jsonl has this run" in failed.out and "headroom fell in the" in failed.out


def test_a_folder_needs_no_configuration(
    cli: Cli, nano: Path, config: Path, tmp_path: Path
) -> None:
    options = ("--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    made = cli("release", config, "--checkpoint", nano, "--model", "mine", *options, "--json")
    assert made.code == 0 and made.json["artifacts"] == str(tmp_path / "a" / "mine" / "v1")
    refused(cli("release", "--checkpoint", tmp_path / "none", *options), "no such folder")
    refused(cli("release", "--model", "mine", *options), "go with --checkpoint DIR")


def test_a_release_over_less_than_the_whole_matrix_does_not_count_as_verified(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    result = cli(*arguments)
    assert result.code == 0
    assert "seeds 1, 2 of the default matrix did not run" in result.out
    assert read_verification(tmp_path / "a/nano/v1") is None


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "r" / "report.json").mkdir(parents=True)
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    refused(cli(*arguments), "report.json: is a folder")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("fails", ["render_html", "rename", "replace"])
def test_version_and_report_are_both_there_or_neither_and_the_verdict_is_told(
    cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    broken = {"render_html": render, "replace": Path, "rename": Path}[fails]
    monkeypatch.setattr(broken, fails, full)
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    result = cli(*arguments)
    assert result.code == 2 and "the disk is full" in result.err
    assert "PASS: " in result.out
    assert list((tmp_path / "a" / "nano").iterdir()) == []
    assert not (tmp_path / "r" / "report.html").exists()


def test_a_release_that_fails_a_gate_is_not_published(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text() + "[gates.transformer.relative_l2]\nlimit = 0.0\n")
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    for _ in range(2):  # the second replaces what the first left for inspection
        result = cli(*arguments, "--json")
        assert result.code == 1
        assert result.json["verdict"] == "FAIL" and result.json["published"] is False
    kept = sorted(p.name for p in (tmp_path / "a/nano").iterdir())
    assert kept == ["history.jsonl", "rejected"]
    assert (tmp_path / "r" / "report.html").is_file()


def test_a_release_that_is_killed_leaves_no_half_version_and_the_next_sweeps(
    config: Path, tmp_path: Path
) -> None:
    home, report = tmp_path / "a" / "nano", tmp_path / "r"
    config.write_text(config.read_text().replace('"coarse"', '"sampler"'))  # it is the fastest
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", report)
    # While it exports, while it verifies, and as soon as there is a version.
    for moment in (".staging-*/*.onnx", ".staging-*/manifest.json", "v1"):
        running = process(*arguments)
        deadline = time.monotonic() + 300
        known = set(home.glob(moment))
        while not set(home.glob(moment)) - known:
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        running.kill()
        running.communicate(timeout=60)
        assert len(list(home.glob(".staging-*"))) <= 1
        for _, folder in versions(home):
            open_artifacts(folder)
    last = process(*arguments)
    _, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert sorted(path.name for path in home.iterdir()) == ["history.jsonl", "v1"]
    assert files_below(report) == ["junit.xml", "report.html", "report.json", "report.md"]
    assert read_report(report / "report.json").version == "v1"
