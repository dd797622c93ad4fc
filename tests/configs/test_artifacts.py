"""Opening a version: it is whole, and what its manifest says, or it is refused."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.support.exports import record_of
from tests.support.versions import edit, published, staged_version
from vampnet_onnx.configs import artifacts as artifacts_module
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts, open_unhashed
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import sha256


def test_a_version_opens_by_its_own_its_models_and_its_stores_path(
    home: Path, tmp_path: Path
) -> None:
    published(home, tmp_path)
    newest = published(home, tmp_path, b"other")
    for path in (newest, home, home.parent):
        opened = open_artifacts(path)
        assert opened.folder == newest and opened.version == "v2"
    assert isinstance(opened, Artifacts)
    assert open_artifacts(home / "v1").version == "v1"


def test_a_store_of_several_models_asks_which(home: Path, tmp_path: Path) -> None:
    published(home, tmp_path)
    published(home.parent / "yours", tmp_path)
    with pytest.raises(InputError, match=r"several models \(mine, yours\)"):
        open_artifacts(home.parent)


def test_a_rejected_set_opens_only_by_its_own_path(home: Path, tmp_path: Path) -> None:
    staged_version(home / "rejected")
    with pytest.raises(InputError, match="no artifact version"):
        open_artifacts(home)
    assert open_artifacts(home / "rejected").version == ""


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "long"])
def test_a_path_without_artifacts_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / ("x" * 300 if kind == "long" else kind)
    with pytest.raises(InputError, match=r"no such folder|no artifact version|cannot be read"):
        open_artifacts(path)


@pytest.mark.parametrize("content", [b"grxph", b"", b"graph and more"])
def test_a_file_with_a_wrong_hash_is_named(home: Path, tmp_path: Path, content: bytes) -> None:
    folder = published(home, tmp_path)
    (folder / "coarse.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"coarse\.onnx: its content is not what"):
        open_artifacts(home)


def test_a_missing_file_is_named(home: Path, tmp_path: Path) -> None:
    (published(home, tmp_path) / "coarse.onnx").unlink()
    with pytest.raises(InputError, match=r"coarse\.onnx: missing"):
        open_artifacts(home)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"schema_version": 1}', b"3", b"{}" * 2]
)
def test_a_damaged_manifest_is_refused(home: Path, tmp_path: Path, data: bytes) -> None:
    (published(home, tmp_path) / "manifest.json").write_bytes(data)
    with pytest.raises(InputError, match=r"manifest\.json: not a manifest") as caught:
        open_artifacts(home)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.onnx",
        "/etc/passwd",
        "sub/coarse.onnx",
        "..",
        ".",
        "",
        "a\x00b",
        "./x.onnx",
        "coarse.onnx/",
        "x" * 300,
    ],
)
def test_a_manifest_cannot_name_files_elsewhere(home: Path, tmp_path: Path, name: str) -> None:
    folder = published(home, tmp_path)
    (folder.parent / "outside.onnx").write_bytes(b"graph")

    def point_elsewhere(values: dict[str, Any]) -> None:
        values["components"][0]["file"]["name"] = name

    edit(folder, point_elsewhere)
    with pytest.raises(InputError, match=r"manifest|missing|no file name"):
        open_artifacts(folder)


# Files held to their hashes as they are read.


def test_opened_unhashed_a_version_is_whole_by_name_and_size(
    home: Path, tmp_path: Path
) -> None:
    path = published(home, tmp_path) / "coarse.onnx"
    path.write_bytes(b"grxph")
    open_unhashed(home)
    path.write_bytes(b"graph and more")
    with pytest.raises(InputError, match=r"coarse\.onnx: its content is not what"):
        open_unhashed(home)
    path.unlink()
    with pytest.raises(InputError, match=r"coarse\.onnx: missing"):
        open_unhashed(home)


@pytest.mark.parametrize("reads", [lambda: None, lambda: 1 / 0])
def test_of_a_damaged_file_one_hears_that_it_is_damaged(
    home: Path, tmp_path: Path, reads: Any
) -> None:
    (published(home, tmp_path) / "coarse.onnx").write_bytes(b"grxph")
    opened = open_unhashed(home)
    with (
        pytest.raises(InputError, match=r"coarse\.onnx: its content is not what"),
        opened.sealed(record_of(opened, "coarse").file),
    ):
        reads()


def test_what_goes_wrong_with_a_sound_file_is_told(home: Path, tmp_path: Path) -> None:
    published(home, tmp_path)
    opened = open_unhashed(home)
    with (
        pytest.raises(ZeroDivisionError),
        opened.sealed(record_of(opened, "coarse").file),
    ):
        1 / 0  # noqa: B018


def rewritten(path: Path) -> None:
    path.write_bytes(b"grxph")


def rewritten_and_restored(path: Path) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(b"grxph")
    path.write_bytes(b"graph")
    os.utime(path, ns=times)


def replaced(path: Path) -> None:
    other = path.with_suffix(".other")
    other.write_bytes(b"graph")
    other.replace(path)


@pytest.mark.parametrize("hashed", ["before", "beside"])
@pytest.mark.parametrize("change", [rewritten, rewritten_and_restored, replaced, Path.unlink])
def test_a_file_that_changes_while_it_is_read_is_refused(
    home: Path, tmp_path: Path, change: Any, hashed: str
) -> None:
    path = published(home, tmp_path) / "coarse.onnx"
    opened = open_artifacts(home) if hashed == "before" else open_unhashed(home)
    with (
        pytest.raises(
            InputError, match=r"was changed while|its content is not|missing|be read"
        ),
        opened.sealed(record_of(opened, "coarse").file),
    ):
        change(path)
    if change is not Path.unlink:
        path.write_bytes(b"graph")
        with opened.sealed(record_of(opened, "coarse").file):
            pass


def test_a_file_is_hashed_once_for_as_long_as_it_stays(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return sha256(path)

    monkeypatch.setattr(artifacts_module, "sha256", counted)
    path = published(home, tmp_path) / "coarse.onnx"
    opened = open_artifacts(home)
    file = record_of(opened, "coarse").file
    for _ in range(2):
        with opened.sealed(file):
            pass
    assert hashed == ["coarse.onnx"]
    rewritten(path)
    with pytest.raises(InputError, match="its content is not what"), opened.sealed(file):
        pass
    assert hashed == ["coarse.onnx"] * 2


def test_an_unsealed_file_is_taken_as_it_is(home: Path, tmp_path: Path) -> None:
    (published(home, tmp_path) / "coarse.onnx").write_bytes(b"grxph")
    opened = open_artifacts(home, unsealed=True)
    assert opened.changed == ("coarse.onnx",)
    with opened.sealed(record_of(opened, "coarse").file):
        pass


def test_a_file_is_hashed_while_the_block_reads(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(home, tmp_path)
    opened, barrier = open_unhashed(home), Barrier(2, timeout=60)

    def meeting(path: Path) -> str:
        barrier.wait()
        return sha256(path)

    monkeypatch.setattr(artifacts_module, "sha256", meeting)
    with opened.sealed(record_of(opened, "coarse").file):
        barrier.wait()  # broken if one waits for the other to end


def test_a_file_that_cannot_be_read_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    published(home, tmp_path)
    monkeypatch.setattr(artifacts_module, "sha256", refused)
    with pytest.raises(
        InputError, match=r"coarse\.onnx: cannot be read \(Permission denied\)"
    ):
        open_artifacts(home)
