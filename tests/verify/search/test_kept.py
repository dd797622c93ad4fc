"""Measurements that an interrupted search goes on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from vampnet_onnx.verify.search.kept import Kept
from vampnet_onnx.verify.search.measure import Cost

KEY = {"hash of coarse.onnx": "abc", "form": "int8"}


def measured(folder: Path | None, key: dict[str, str] = KEY) -> tuple[Cost, list[str], int]:
    """Ask for one measurement; return it, what was noted, and how often it was made."""
    notes, made = list[str](), list[int]()

    def measure() -> Cost:
        made.append(1)
        return Cost(0.1 + 0.2, float("nan"))

    return Kept(folder, key, notes.append).of("alone: a", measure), notes, len(made)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    first, _, made = measured(tmp_path)
    again, notes, made_again = measured(tmp_path)
    assert (made, made_again, notes) == (1, 0, [])
    assert again.agreement == first.agreement and again.kl_nats != again.kl_nats


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    assert measured(None)[2] == measured(None)[2] == 1


def test_measurements_of_something_else_are_not_used(tmp_path: Path) -> None:
    measured(tmp_path)
    assert measured(tmp_path, {**KEY, "hash of coarse.onnx": "def"})[2] == 1
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "another's", "a folder"])
def test_a_damaged_file_is_measured_again_with_a_note(tmp_path: Path, damage: str) -> None:
    measured(tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    if damage == "another's":
        measured(tmp_path, {**KEY, "form": "w8"})
        (other,) = set(tmp_path.iterdir()) - {path}
        path.write_bytes(other.read_bytes())
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        flipped = content.replace(b"alone: a", b"alone: b")
        path.write_bytes({"flipped": flipped, "cut": content[:-9], "empty": b""}[damage])
    _, notes, made = measured(tmp_path)
    assert made == 1 and path.name in notes[0]
    if damage != "a folder":
        assert len(notes) == 1 and measured(tmp_path)[2] == 0  # and that is kept


def test_a_folder_that_cannot_be_written_costs_a_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, notes, made = measured(tmp_path / "file" / "folder")
    assert made == 1 and len(notes) == 1
