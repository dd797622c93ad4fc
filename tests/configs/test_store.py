"""The artifact store: versions are whole, immutable, and checked before anything runs."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import publish_folder, staging_folder
from vampnet_onnx.configs.manifest import (
    ComponentRecord,
    FileRecord,
    GateRecord,
    Manifest,
    SourceRecord,
    TensorSignature,
)
from vampnet_onnx.configs.store import find_version, publish, versions, write_manifest


def staged_version(
    folder: Path, content: bytes = b"graph", gates: tuple[GateRecord, ...] = ()
) -> Path:
    """Make a folder that looks like an export: one file and its manifest."""
    folder.mkdir(parents=True)
    (folder / "coarse.onnx").write_bytes(content)
    signature = (TensorSignature(name="codes", dtype="int64", shape=("batch", 2, "frames")),)
    manifest = Manifest(
        model="mine",
        random_weights=True,
        sources=(SourceRecord(name="coarse.pth", sha256="0" * 64, size=1),),
        toolchain={"torch": "2"},
        components=(
            ComponentRecord(
                name="coarse",
                file=FileRecord(
                    name="coarse.onnx",
                    sha256=hashlib.sha256(content).hexdigest(),
                    size=len(content),
                ),
                inputs=signature,
                outputs=signature,
                opset=20,
                dims={},
                passes=(),
            ),
        ),
        gates=gates,
    )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "store" / "mine"


def published(home: Path, tmp_path: Path, content: bytes = b"graph", **options: Any) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    with staging_folder(home) as staging:
        staged = staged_version(staging / "x", content)
        return publish(staged, home, **options)[0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


# Versions.


def test_versions_count_up_and_the_same_content_makes_no_new_one(
    home: Path, tmp_path: Path
) -> None:
    assert published(home, tmp_path).name == "v1"
    assert published(home, tmp_path).name == "v1"
    assert published(home, tmp_path, b"other").name == "v2"
    assert published(home, tmp_path).name == "v1"
    assert names(home) == ["v1", "v2"]


def test_the_number_after_the_highest_is_next_even_where_some_are_gone(
    home: Path, tmp_path: Path
) -> None:
    for number in range(12):
        published(home, tmp_path, str(number).encode())
    shutil.rmtree(home / "v3")
    assert published(home, tmp_path, b"new").name == "v13"
    assert [number for number, _ in versions(home)] == [1, 2, *range(4, 14)]


def test_a_version_that_exists_with_other_content_is_never_overwritten(
    home: Path, tmp_path: Path
) -> None:
    published(home, tmp_path, version=3)
    with pytest.raises(InputError, match="exists with other content"):
        published(home, tmp_path, b"other", version=3)
    assert (home / "v3" / "coarse.onnx").read_bytes() == b"graph"
    assert published(home, tmp_path, version=3).name == "v3"
    assert published(home, tmp_path, version=5).name == "v5"
    assert names(home) == ["v3", "v5"]


def test_a_damaged_version_is_not_taken_for_the_same_content(
    home: Path, tmp_path: Path
) -> None:
    """The advice for a damaged file is to export again, so that must help."""
    published(home, tmp_path)
    (home / "v1" / "coarse.onnx").write_bytes(b"grxph")
    assert published(home, tmp_path).name == "v2"
    open_artifacts(home)
    with pytest.raises(InputError, match="exists with other content"):
        published(home, tmp_path, version=1)


def test_a_version_with_a_file_missing_is_not_taken_for_the_same_content(
    home: Path, tmp_path: Path
) -> None:
    published(home, tmp_path)
    (home / "v1" / "coarse.onnx").unlink()
    assert published(home, tmp_path).name == "v2"


@pytest.mark.parametrize("name", ["v0", "v01", "vx", "V1", "v1.bak", "v-1", ".v2", "rejected"])
def test_folders_of_other_names_are_no_versions(home: Path, tmp_path: Path, name: str) -> None:
    staged_version(home / name)
    assert versions(home) == []
    assert published(home, tmp_path).name == "v1"
    assert find_version(home) == home / "v1"


def test_a_file_in_the_place_of_the_version_is_refused(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    (home / "v1").write_text("mine")
    with pytest.raises(InputError, match="never overwritten"):
        published(home, tmp_path)
    assert (home / "v1").read_text() == "mine"


def test_exports_at_the_same_time_never_mix(home: Path, tmp_path: Path) -> None:
    """Each gets a version of its own or is refused; every version is whole."""
    results: list[str] = []
    barrier = threading.Barrier(6)

    def run(number: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        with staging_folder(home) as staging:
            staged = staged_version(staging / "x", str(number).encode())
            barrier.wait()
            try:
                results.append(publish(staged, home)[0].name)
            except InputError:
                results.append("refused")

    threads = [threading.Thread(target=run, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    made = [name for name in results if name != "refused"]
    assert sorted(made) == names(home) and len(set(made)) == len(made)
    for name in made:
        open_artifacts(home / name)


def test_a_version_that_appears_at_the_last_moment_is_not_overwritten(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(parents=True)
    with staging_folder(home) as staging:
        staged = staged_version(staging / "x")
        staged_version(home / "v1", b"another's")
        monkeypatch.setattr(Path, "exists", lambda _: False)
        with pytest.raises(InputError, match="v1"):
            publish_folder(staged, home / "v1")
    assert (home / "v1" / "coarse.onnx").read_bytes() == b"another's"


def test_published_files_can_be_read_by_others(home: Path, tmp_path: Path) -> None:
    folder = published(home, tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o755
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o444 == 0o444


# Opening.


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


def test_the_newest_version_is_newest_by_number_not_by_name(
    home: Path, tmp_path: Path
) -> None:
    for number in range(10):
        published(home, tmp_path, str(number).encode())
    assert open_artifacts(home).version == "v10"


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


@pytest.mark.parametrize(
    "key, value",
    [
        ("schema_version", 99),
        ("components", None),
        ("extra", 1),
        ("random_weights", "?"),
        ("sources", [{}]),
        ("model", None),
    ],
)
def test_a_manifest_of_another_shape_is_refused_by_key(
    home: Path, tmp_path: Path, key: str, value: object
) -> None:
    folder = published(home, tmp_path)
    edit(folder, lambda values: values.update({key: value}))
    with pytest.raises(InputError, match="manifest") as caught:
        open_artifacts(folder)
    assert key in str(caught.value) or key == "schema_version"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e-7, None])
def test_gate_values_of_every_kind_survive_the_manifest(
    tmp_path: Path, value: float | None
) -> None:
    gate = GateRecord(component="coarse", name="snr_db", verdict="PASS", value=value, limit=80)
    folder = staged_version(tmp_path / "v1", gates=(gate,))
    found = open_artifacts(folder).manifest.gates[0].value
    assert found == value or (found != found and value != value)
    json.loads((folder / "manifest.json").read_text("utf-8"), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_a_manifest_holds_no_time_and_no_place(tmp_path: Path) -> None:
    folder = staged_version(tmp_path / "somewhere-special")
    text = (folder / "manifest.json").read_text("utf-8")
    assert "special" not in text and set(json.loads(text)) == {
        "schema_version",
        "model",
        "random_weights",
        "sources",
        "toolchain",
        "components",
        "adapters",
        "gates",
    }


@pytest.mark.parametrize("values", [(1e-7, 2e-7), (1e-7, 1e-7)])
def test_measured_values_alone_make_no_new_version(
    home: Path, tmp_path: Path, values: tuple[float, float]
) -> None:
    """Errors differ in the last digits from run to run; the artifacts do not."""
    home.mkdir(parents=True)
    for number, value in enumerate(values):
        gate = GateRecord(
            component="coarse", name="relative_l2", verdict="PASS", value=value, limit=1e-5
        )
        with staging_folder(home) as staging:
            folder, new = publish(staged_version(staging / "x", gates=(gate,)), home)
            assert (folder.name, new) == ("v1", number == 0)
    # Exported again without verification: the verified version serves.
    assert published(home, tmp_path).name == "v1"


def test_a_verified_release_of_an_unverified_version_is_a_version_of_its_own(
    home: Path, tmp_path: Path
) -> None:
    """The manifest of the first says that it was not verified, and never changes."""
    assert published(home, tmp_path).name == "v1"
    gate = GateRecord(component="coarse", name="x", verdict="PASS", value=0, limit=1e-5)
    with staging_folder(home) as staging:
        folder, new = publish(staged_version(staging / "x", gates=(gate,)), home)
    assert (folder.name, new) == ("v2", True)
    assert open_artifacts(home / "v1").manifest.gates == ()
