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


def test_a_file_that_the_manifest_does_not_vouch_for_is_no_baseline(
    model: Path, tmp_path: Path
) -> None:
    (model / "v1" / "coarse.onnx").write_bytes(b"oen")
    with pytest.raises(InputError, match="not what the manifest vouches for"):
        take_baseline(str(model), tmp_path / "baseline")
    (model / "v1" / "coarse.onnx").unlink()
    with pytest.raises(InputError, match="missing, though the manifest lists it"):
        take_baseline(str(model), tmp_path / "baseline")
    assert not (tmp_path / "baseline").exists()


def packed_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_what_cannot_be_unpacked_is_one_message(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"mine/v1/{path.name}": path.read_bytes() for path in (model / "v1").iterdir()}
    damaged = bytearray(packed_of({"a": bytes(range(256)) * 9}))
    damaged[31:80] = b"\xff" * 49
    archives = {
        "damaged": (bytes(damaged), "cannot be unpacked"),
        "lzma": (packed_of(files, zipfile.ZIP_LZMA), "another method than deflate"),
        "bz2": (packed_of(files, zipfile.ZIP_BZIP2), "another method than deflate"),
        "twice": (packed_of({"a": b"x", "a/b": b"x"}), "cannot be unpacked"),
        "long": (packed_of({"n" * 300: b"x"}), "cannot be unpacked"),
        "bomb": (packed_of({"a": bytes(4 << 20)}), "more than 100 times its own size"),
        "empty": (packed_of({}), "holds no artifact version"),
        "changed": (packed_of(files | {"mine/v1/coarse.onnx": b"oen"}), "vouches for"),
    }
    monkeypatch.setenv("GITHUB_REPOSITORY", REPO)
    with serve_github(GitHubServer()) as server:
        monkeypatch.setenv("GITHUB_API_URL", server.url)
        server.assets = {f"{name}.zip": packed for name, (packed, _) in archives.items()}
        for name, (_, why) in archives.items():
            source = f"release:v1/{name}.zip"
            with pytest.raises(InputError, match=why) as caught:
                take_baseline(source, tmp_path / "baseline")
            assert str(caught.value).startswith(source), name
            assert "vampnet-onnx-run-" not in str(caught.value)
    assert not (tmp_path / "baseline").exists()
