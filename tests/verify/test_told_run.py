"""What a report says of its run."""

from __future__ import annotations

import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from vampnet_onnx.verify.told_run import commit_around, told_run


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a Git repository with one commit, and a checkpoint folder in it."""

    def git(*words: str) -> None:
        who = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True)

    git("init", "-q")
    (tmp_path / "mine").mkdir()
    git("commit", "-q", "--allow-empty", "-m", "first")
    return tmp_path / "mine"


def test_the_commit_is_that_around_the_checkpoint(repository: Path, tmp_path: Path) -> None:
    head = subprocess.check_output(["git", "-C", tmp_path, "rev-parse", "HEAD"], text=True)
    assert commit_around(repository) == head.strip() and len(head.strip()) == 40


def test_without_repository_commit_or_git_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The temporary folder itself may lie in one.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_around(tmp_path) == commit_around(tmp_path / "none") == ""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert commit_around(tmp_path) == ""
    monkeypatch.setenv("PATH", "")
    assert commit_around(tmp_path) == ""


def test_nothing_that_a_repository_configures_is_run(repository: Path, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    program.chmod(0o755)
    line = ["git", "-C", str(tmp_path), "config", "core.fsmonitor", str(program)]
    subprocess.run(line, check=True)
    assert commit_around(repository) and not (tmp_path / "ran").exists()


def test_a_run_says_when_and_where_it_was(repository: Path) -> None:
    run = told_run(time.monotonic() - 3, repository, "v1")
    age = datetime.now().astimezone() - datetime.fromisoformat(run.date)
    assert abs(age.total_seconds()) < 60 and 3 <= run.seconds < 60
    assert run.processor and run.cores >= 1 and len(run.commit) == 40
    assert run.previous == "v1"
