"""Taking the last verified version of a source, to compare the next one with."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from tests.support.github_server import REPO, GitHubServer, serve_github
from tests.support.hub_server import COMMIT, Hub, own_world, serve
from tests.support.versions import names, published, verification_of
from vampnet_onnx.configs.baseline import take_baseline
from vampnet_onnx.configs.cache import FOLDER_VARIABLE
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.verification import read_verification, write_verification


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with two versions, the first of which is verified."""
    home = tmp_path / "store" / "mine"
    first = published(home, tmp_path, b"one")
    write_verification(first, verification_of(first))
    published(home, tmp_path, b"two")
    return home


def test_the_last_verified_version_is_copied(model: Path, tmp_path: Path) -> None:
    into = tmp_path / "onnx-ci" / "baseline"
    for source in (model, model.parent, model / "v1"):
        assert take_baseline(str(source), into) == model / "v1"
        assert (into / "coarse.onnx").read_bytes() == b"one"
        assert read_verification(into) is not None and names(into.parent) == ["baseline"]
    second = model / "v2"
    write_verification(second, verification_of(second))
    assert take_baseline(str(model), into) == second
    assert (into / "coarse.onnx").read_bytes() == b"two"


def test_what_is_not_verified_is_no_baseline(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no verified version \(v2 has no"):
        take_baseline(str(model / "v2"), tmp_path / "baseline")
    with pytest.raises(InputError, match="no such folder"):
        take_baseline(str(tmp_path / "nowhere"), tmp_path / "baseline")
    assert not (tmp_path / "baseline").exists()


def test_a_folder_that_is_no_version_is_never_replaced(model: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="no version to replace"):
        take_baseline(str(model), own)
    assert names(own) == ["thesis.txt"]


def test_a_version_on_a_hub_is_copied(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in (model / "v1").iterdir()}
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    small = {"manifest.json", "verification.json"}
    with own_world(monkeypatch, tmp_path / "hf"), serve(Hub("a/music", files, small)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert take_baseline("hub:a/music", tmp_path / "baseline").name == COMMIT
    assert read_verification(tmp_path / "baseline") is not None


def test_a_file_of_a_release_is_unpacked(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted((model / "v1").iterdir()):
            archive.write(path, f"mine/v1/{path.name}")
        archive.writestr("../outside", "x")
    monkeypatch.setenv("GITHUB_REPOSITORY", REPO)
    with serve_github(GitHubServer()) as server:
        monkeypatch.setenv("GITHUB_API_URL", server.url)
        server.assets = {"mine.zip": packed.getvalue(), "bad.zip": b"no archive"}
        into = tmp_path / "baseline"
        taken = take_baseline("release:v1/mine.zip", into)
        assert taken.name == "v1" and read_verification(into) is not None
        with pytest.raises(InputError, match=r"bad\.zip: cannot be unpacked"):
            take_baseline("release:v1/bad.zip", into)
    for wrong in ("release:mine.zip", "release:v1/mine.tar"):
        with pytest.raises(InputError, match="TAG/FILE"):
            take_baseline(wrong, into)
