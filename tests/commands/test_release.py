"""The command release: verified artifacts are published once, others never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Cli, files_below, refused


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
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    first = cli(*arguments, "--json")
    assert first.code == 0 and first.json["published"] and first.json["new"]
    assert "RANDOM WEIGHTS" in first.json["verdict_line"]
    manifest = json.loads((tmp_path / "a/nano/v1/manifest.json").read_text("utf-8"))
    assert manifest["gates"] and manifest["random_weights"] is True
    again = cli(*arguments)
    assert again.code == 0 and "unchanged, already published" in again.out
    assert sorted(p.name for p in (tmp_path / "a/nano").iterdir()) == ["v1"]


def test_a_release_that_fails_a_gate_is_not_published(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text() + "[gates.transformer.relative_l2]\nlimit = 0.0\n")
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    for _ in range(2):  # the second replaces what the first left for inspection
        result = cli(*arguments, "--json")
        assert result.code == 1
        assert result.json["verdict"] == "FAIL" and result.json["published"] is False
    assert sorted(p.name for p in (tmp_path / "a/nano").iterdir()) == ["rejected"]
    assert (tmp_path / "r" / "report.html").is_file()
