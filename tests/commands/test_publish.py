"""The command publish, and what others do with what it laid out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.audio_files import RATE, tone
from tests.support.command_line import Cli, refused
from tests.support.documents import steps
from tests.support.hub_server import Hub, from_the_start, own_world, serve
from tests.support.verified import verify_as_if
from vampnet_onnx.configs.cache import FOLDER_VARIABLE

ON_HUB = "hub:somebody/music"


@pytest.fixture
def version(exported_a: Path, tmp_path: Path) -> Path:
    """Folder of a version that is wholly verified; its report is in report/."""
    folder = Path(shutil.copytree(exported_a, tmp_path / "store" / "a" / "v1"))
    verify_as_if(folder, tmp_path / "report")
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    with (
        own_world(monkeypatch, tmp_path / "hf-home"),
        serve(Hub("somebody/music", {})) as served,
    ):
        from_the_start(monkeypatch, served)
        yield served


def tokens(run: Cli, artifacts: object) -> np.ndarray:
    options = ("--seed", "4", "--save-tokens", "made.npz", "--artifacts", artifacts)
    result = run("vamp", "in.wav", "made.wav", *options)
    assert result.code == 0, result
    with np.load("made.npz") as saved:
        return np.asarray(saved["codes"])


def test_from_folder_and_hub_come_the_tokens_of_the_version(
    run: Cli, version: Path, hub: Hub, tmp_path: Path
) -> None:
    soundfile.write("in.wav", tone(), RATE)
    wanted = tokens(run, version)
    result = run("publish", version, "--to", "published", "--license", "mit")
    assert result.code == 0 and result.out.endswith("published in published\n"), result
    np.testing.assert_array_equal(tokens(run, "published"), wanted)
    result = run("publish", "store/a", "--to", ON_HUB, "--licence", "MIT", "--json")
    assert result.json["place"] == f"{ON_HUB}@{hub.head}"
    assert "coarse.onnx" in result.json["sent"]
    np.testing.assert_array_equal(tokens(run, ON_HUB), wanted)
    again = run("publish", "store/a", "--to", ON_HUB, "--licence", "MIT")
    assert "sent       nothing" in again.out
    hub.files["coarse.onnx"] = b"other"
    hub.head = "e" * 40
    told = run("vamp", "in.wav", "made.wav", "--artifacts", ON_HUB)
    refused(told, "coarse.onnx is not what its manifest.json vouches for", "expected")
    assert run("encode", "in.wav", "c.npz", "--artifacts", result.json["place"]).code == 0


def test_the_lines_of_the_card_run_as_they_stand(run: Cli, version: Path) -> None:
    soundfile.write("in.wav", tone(), RATE)
    assert run("publish", version, "--to", "my music", "--licence", "mit").code == 0
    lines = {step.kind: step.text for step in steps(Path("my music", "README.md"))}
    assert lines["sh"] == "vampnet-onnx vamp in.wav out.wav --artifacts 'my music'"
    made: dict[str, object] = {}
    exec(compile(lines["python"], "card", "exec"), made)
    variation = made["variation"]
    np.testing.assert_array_equal(variation.tokens[0], tokens(run, "my music")[0])  # type: ignore[attr-defined]
    assert Path("out.wav").is_file()


@pytest.mark.parametrize("command", ["export", "release"])
def test_nothing_is_exported_to_a_hub(run: Cli, nano: Path, command: str) -> None:
    told = run(command, "--checkpoint", nano, "--artifacts", ON_HUB)
    refused(told, f"{ON_HUB}: is on a hub", f"publish --to {ON_HUB}")
    assert not [*Path.cwd().iterdir()]


def test_a_licence_is_asked_for_and_read(run: Cli, version: Path) -> None:
    asked = run("publish", version, "--to", "published")
    assert asked.code == 2 and "--licence" in asked.err
    refused(run("publish", version, "--to", "published", "--licence", "mine"), "SPDX")
    assert not Path("published").exists()


def test_what_is_not_verified_is_refused(run: Cli, exported_a: Path) -> None:
    told = run("publish", exported_a, "--to", "published", "--licence", "mit")
    refused(told, "is not verified", "vampnet-onnx verify")
