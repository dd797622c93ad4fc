"""The command fetch, against a hub on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import Cli, files_below, refused
from tests.support.hub_server import Hub, own_world, serve
from vampnet_onnx.configs.hub.published import published

REPO = published().repo
FILES = {
    path: path.encode() * 1000
    for path in (
        "codec.pth",
        "coarse.pth",
        "c2f.pth",
        "wavebeat.pth",
        "loras/opera/coarse.pth",
        "loras/opera/c2f.pth",
    )
}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub, and nothing of a person's own settings."""
    with own_world(monkeypatch, tmp_path / "hf-home"), serve(Hub(REPO, dict(FILES))) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def test_the_published_set_arrives(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    result = cli("fetch", folder)
    assert result.code == 0
    assert result.out.split() == [
        str(folder / name) for name in ("codec.pth", "coarse.pth", "c2f.pth")
    ]
    assert (folder / "coarse.pth").read_bytes() == FILES["coarse.pth"]


def test_a_fine_tuned_pair_comes_with_the_codec(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "opera"
    result = cli("fetch", folder, "--finetuned", "opera", "--json")
    assert result.code == 0
    assert sorted(result.json["files"]) == [str(folder / n) for n in files_below(folder)]
    assert (folder / "c2f.pth").read_bytes() == FILES["loras/opera/c2f.pth"]
    assert (folder / "codec.pth").read_bytes() == FILES["codec.pth"]


def test_one_component_alone_arrives(cli: Cli, tmp_path: Path) -> None:
    assert cli("fetch", tmp_path / "one", "--only", "codec").code == 0
    assert files_below(tmp_path / "one") == ["codec.pth"]


def test_the_beat_tracker_comes_if_asked_for(cli: Cli, tmp_path: Path) -> None:
    assert cli("fetch", tmp_path / "two", "--only", "c2f", "--beats").code == 0
    assert files_below(tmp_path / "two") == ["c2f.pth", "wavebeat.pth"]


def test_what_the_hub_does_not_have_is_refused(cli: Cli, tmp_path: Path) -> None:
    refused(cli("fetch", tmp_path / "x", "--finetuned", "jazz"), "jazz", "opera")
    refused(cli("fetch", tmp_path / "x", "--only", "decoder"), "decoder")
    assert files_below(tmp_path / "x") == []


def test_a_hub_that_does_not_answer_exits_with_3(
    cli: Cli, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vampnet_onnx.configs.hub.download._PAUSES", ())
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    result = cli("fetch", tmp_path / "x")
    assert result.code == 3 and result.err.startswith("error: "), result
    assert hub.requests == [] and files_below(tmp_path / "x") == []
