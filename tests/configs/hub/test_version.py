"""Versions on a hub in place of folders: fetched once, whole, and held to their hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from huggingface_hub import constants

from tests.support.command_line import files_below
from tests.support.hub_server import COMMIT, Hub, own_world, serve
from tests.support.versions import staged_version, verification_of
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.cache import FOLDER_VARIABLE
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.hub import download
from vampnet_onnx.configs.hub.version import fetched_version
from vampnet_onnx.configs.store import find_version
from vampnet_onnx.configs.verification import version_to_use, write_verification

NAME = "hub:somebody/music"
FILES = ["coarse.onnx", "manifest.json", "verification.json"]


def laid_out(folder: Path, content: bytes) -> dict[str, bytes]:
    """Return the files of a verified version."""
    staged_version(folder, content)
    write_verification(folder, verification_of(folder))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> Iterator[Hub]:
    files = laid_out(tmp_path / "first", b"graph" * 9)
    small = {"manifest.json", "verification.json"}
    with (
        own_world(monkeypatch, tmp_path / "hf-home"),
        serve(Hub("somebody/music", files, small)) as served,
    ):
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setattr(download, "_PAUSES", ())
        yield served


def edit_manifest(hub: Hub, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest on the hub, and let the verification be of it."""
    values = json.loads(hub.files["manifest.json"])
    change(values)
    hub.files["manifest.json"] = json.dumps(values).encode()
    found = json.loads(hub.files["verification.json"])
    found["manifest_sha256"] = hashlib.sha256(hub.files["manifest.json"]).hexdigest()
    hub.files["verification.json"] = json.dumps(found).encode()


def test_a_version_on_a_hub_is_opened_like_a_folder(
    hub: Hub, cache: Path, tmp_path: Path
) -> None:
    told = list[tuple[str, int, int]]()
    folder = fetched_version(NAME, lambda *item: told.append(item))
    assert folder.name == COMMIT and folder.is_relative_to(cache)
    assert files_below(folder) == FILES
    assert told[-1] == ("coarse.onnx", 45, 45)
    opened = open_artifacts(NAME)
    assert opened.folder == folder and "verified" in repr(opened)
    assert opened.manifest == open_artifacts(tmp_path / "first").manifest
    chosen = version_to_use(Path(NAME))
    assert chosen.verified and chosen.folder == folder
    assert len(hub.downloads()) == 3, "everything came once"


def test_a_branch_is_asked_for_and_a_commit_never_again(hub: Hub, tmp_path: Path) -> None:
    first = find_version(Path(NAME))
    hub.commit(dict(laid_out(tmp_path / "second", b"another")))
    second = find_version(Path(NAME))
    assert (second / "coarse.onnx").read_bytes() == b"another"
    hub.requests.clear()
    assert find_version(Path(f"{NAME}@{COMMIT}")) == first
    assert find_version(Path(f"{NAME}@{hub.head}")) == second
    assert hub.requests == []
    assert (first / "coarse.onnx").read_bytes() == b"graph" * 9


def test_a_commit_that_is_not_the_newest_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.commit(dict(laid_out(tmp_path / "second", b"another")))
    folder = find_version(Path(f"{NAME}@{COMMIT}"))
    assert (folder / "coarse.onnx").read_bytes() == b"graph" * 9


def test_offline_is_said_or_asked_for(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(EnvironmentLacksError, match="HF_HUB_OFFLINE is set"):
            find_version(Path(NAME))
    folder = find_version(Path(NAME))
    hub.requests.clear()
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        assert find_version(Path(NAME)) == folder
    assert hub.requests == []
    hub.refusals["manifest.json"] = (503, "")
    with pytest.raises(EnvironmentLacksError, match="HTTP 503") as info:
        find_version(Path(NAME))
    assert f"{NAME}@{COMMIT}, or with HF_HUB_OFFLINE=1" in str(info.value)
    assert find_version(Path(f"{NAME}@{COMMIT}")) == folder


def test_what_a_lost_connection_left_is_gone_on_with(hub: Hub, cache: Path) -> None:
    hub.cuts = [10_000, 10_000, 10, 0]  # of the manifest, the verification, the graph
    with pytest.raises(EnvironmentLacksError, match="10 of 45 bytes"):
        find_version(Path(NAME))
    assert not list(cache.rglob(COMMIT)), "half a version has not its name"
    hub.requests.clear()
    folder = find_version(Path(NAME))
    assert [seen.range for seen in hub.downloads()] == ["bytes=10-"]
    assert files_below(folder) == FILES
    assert not list(cache.rglob("*.part"))


@pytest.mark.parametrize("small", [False, True], ids=["by SHA-256", "by SHA-1 of git"])
def test_a_file_that_is_not_the_manifests_is_refused(
    hub: Hub, cache: Path, small: bool
) -> None:
    hub.small |= {"coarse.onnx"} if small else set()
    expected = hashlib.sha256(hub.files["coarse.onnx"]).hexdigest()
    hub.files["coarse.onnx"] = b"other" * 9
    found = hashlib.sha256(hub.files["coarse.onnx"]).hexdigest()
    with pytest.raises(InputError, match=r"coarse\.onnx is not what") as info:
        find_version(Path(NAME))
    assert expected in str(info.value) and found in str(info.value)
    assert "name an earlier revision" in str(info.value)
    assert not list(cache.rglob("coarse.onnx")) and not list(cache.rglob(COMMIT))


def test_a_file_that_changes_on_its_way_is_refused(hub: Hub, cache: Path) -> None:
    hub.corrupt = {"coarse.onnx"}
    with pytest.raises(InputError, match="does not match the hash the hub gives"):
        find_version(Path(NAME))
    assert not list(cache.rglob("coarse.onnx")) and not list(cache.rglob(COMMIT))


def test_a_version_whose_verification_is_of_another_is_refused(
    hub: Hub, cache: Path, tmp_path: Path
) -> None:
    other = laid_out(tmp_path / "other", b"other")
    hub.files["verification.json"] = other["verification.json"]
    with pytest.raises(InputError, match=r"verification\.json is not of its manifest"):
        find_version(Path(NAME))
    del hub.files["verification.json"]
    shutil.rmtree(cache)
    with pytest.raises(InputError, match=r"holds no verification\.json"):
        find_version(Path(NAME))
    assert not list(cache.rglob("coarse.onnx"))


@pytest.mark.parametrize(
    "name", ["../coarse.onnx", "/coarse.onnx", "a\\b", "..", "a/b", "C:x", "a\nb", "a\x1bb"]
)
def test_a_manifest_that_lists_a_path_is_refused(hub: Hub, cache: Path, name: str) -> None:
    edit_manifest(hub, lambda v: v["components"][0]["file"].update(name=name))
    hub.files[name] = hub.files["coarse.onnx"]
    with pytest.raises(InputError, match="is a path or has control"):
        find_version(Path(NAME))
    assert {path.name for path in cache.rglob("*") if path.is_file()} <= {
        ".lock",
        "manifest.json",
        "verification.json",
    }


@pytest.mark.parametrize(
    "commit",
    ["../../../escaped", "../../../../first", "/escaped", "C0FFEE" + "0" * 34, "main"],
)
def test_what_is_no_commit_leads_nowhere(hub: Hub, tmp_path: Path, commit: str) -> None:
    hub.headers["X-Repo-Commit"] = commit
    with pytest.raises(InputError, match="not as a model hub does") as info:
        find_version(Path(NAME))
    assert repr(commit) in str(info.value)
    assert {path.name for path in tmp_path.iterdir()} == {"first"}, "nothing is written"


def test_what_was_remembered_is_held_to_a_commit(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_version(Path(NAME))
    (last,) = cache.rglob("revisions/main")
    last.write_bytes(b"../../../../../first\xff")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="main: names no commit; remove it"):
        find_version(Path(NAME))


def test_a_manifest_that_lists_what_is_not_there_is_refused(hub: Hub) -> None:
    edit_manifest(hub, lambda v: v["components"][0]["file"].update(name="gone.onnx"))
    with pytest.raises(InputError, match=r"holds no gone\.onnx"):
        find_version(Path(NAME))


class Case(NamedTuple):
    name: str
    told: str


@pytest.mark.parametrize(
    "case",
    [
        Case(f"{NAME}@gone", "has no revision 'gone'"),
        Case("hub:somebody/else", "does not exist, or asks for a sign-in"),
        Case("hub:music", "write hub:USER/REPO"),
        Case(f"{NAME}@", "write hub:USER/REPO"),
        Case("hub:a/b/c", "write hub:USER/REPO"),
        Case(f"{NAME}@..", "write hub:USER/REPO"),
        Case("hub:../..", "not a repository's id"),
    ],
    ids=lambda case: case.name,
)
def test_what_is_not_there_says_so(hub: Hub, case: Case) -> None:
    with pytest.raises(InputError, match=case.told):
        find_version(Path(case.name))


def test_a_private_repository_takes_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "hf_secret"
    with pytest.raises(InputError, match=r"asks for a sign-in.*HF_TOKEN"):
        find_version(Path(NAME))
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert files_below(find_version(Path(NAME))) == FILES


def test_a_disk_without_room_is_refused_before_anything_large_comes(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_manifest(hub, lambda v: v["components"][0]["file"].update(size=10**6))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**5))
    with pytest.raises(InputError, match=r"1000000 bytes are to come.*only 100000 free"):
        find_version(Path(NAME))
    assert not list(cache.rglob("*coarse.onnx*"))
