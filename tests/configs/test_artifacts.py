"""Opening a version: it is whole, and what its manifest says, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.versions import edit, published, staged_version
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError


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
