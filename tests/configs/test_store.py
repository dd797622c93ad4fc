"""The artifact store: versions are whole, immutable, and checked before anything runs."""

from __future__ import annotations

import shutil
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tests.support.versions import (
    edit,
    names,
    published,
    staged_version,
    verification_of,
)
from vampnet_onnx.configs import store
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import publish_folder, staging_folder
from vampnet_onnx.configs.manifest import GateRecord
from vampnet_onnx.configs.store import find_version, publish, versions
from vampnet_onnx.configs.verification import write_verification

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


def test_the_same_files_by_another_source_of_ours_are_the_same_version(
    home: Path, tmp_path: Path
) -> None:
    """Every commit has a source of its own, few make other files."""
    first = published(home, tmp_path)
    edit(first, lambda values: values.update(source="0" * 64))
    assert published(home, tmp_path) == first
    edit(first, lambda values: values.pop("source"))  # as before there was one
    assert published(home, tmp_path) == first and names(home) == ["v1"]


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


def test_a_version_that_appears_between_look_and_move_is_stepped_over(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run publishes the number that was next, once."""
    home.mkdir(parents=True)

    def publish_late(staged: Path, target: Path) -> None:
        if not (home / "v1").exists():
            staged_version(home / "v1", b"another's")
        publish_folder(staged, target)

    monkeypatch.setattr(store, "publish_folder", publish_late)
    assert published(home, tmp_path).name == "v2"
    assert (home / "v1" / "coarse.onnx").read_bytes() == b"another's"
    open_artifacts(home / "v2")


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
    assert names(folder) == ["coarse.onnx", "manifest.json"]
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o444 == 0o444


# Opening.


def test_the_newest_version_is_newest_by_number_not_by_name(
    home: Path, tmp_path: Path
) -> None:
    for number in range(10):
        published(home, tmp_path, str(number).encode())
    assert open_artifacts(home).version == "v10"


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


def test_what_was_found_of_a_version_makes_no_new_one(home: Path, tmp_path: Path) -> None:
    """A manifest says what was made; a verification stands beside it and comes and goes."""
    folder = published(home, tmp_path)
    write_verification(folder, verification_of(folder))
    assert published(home, tmp_path) == folder
    gate = GateRecord(component="coarse", name="x", verdict="PASS", value=0, limit=1e-5)
    with staging_folder(home) as staging:
        old = staged_version(staging / "x", gates=(gate,))  # as earlier versions of ours did
        assert publish(old, home) == (folder, False)
    assert names(home) == ["v1"]


def _publish(home: Path, content: bytes, start: Any, results: Any) -> None:
    with staging_folder(home) as staging:
        staged = staged_version(staging / "x", content)
        start.wait()
        folder, new = publish(staged, home)
        results.put((folder.name, new))


@pytest.mark.parametrize("contents", [[b"a", b"b", b"c"], [b"a", b"a", b"a"]])
def test_publishers_at_once_each_get_a_version_or_the_one_of_the_same_content(
    home: Path, contents: list[bytes]
) -> None:
    home.mkdir(parents=True)
    context = get_context("fork")
    start, results = context.Barrier(3), context.SimpleQueue()
    running = [
        context.Process(target=_publish, args=(home, content, start, results))
        for content in contents
    ]
    for one in running:
        one.start()
    for one in running:
        one.join()
    found = sorted(results.get() for _ in running)
    made = sorted({f"v{n}" for n in range(1, len(set(contents)) + 1)})
    assert names(home) == made == sorted({name for name, _ in found})
    assert sum(new for _, new in found) == len(made)
    for name in made:
        open_artifacts(home / name)
