"""What was found of a version: whose it is, when it counts, and which version is used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.versions import edit, published, verification_of
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.verification import (
    VERIFICATION_NAME,
    last_verified,
    read_verification,
    version_to_use,
    withdraw_verification,
    write_verification,
)


def verified(folder: Path) -> Path:
    write_verification(folder, verification_of(folder))
    return folder


@pytest.fixture
def three(home: Path, tmp_path: Path) -> list[Path]:
    """Three versions, of which none is verified."""
    return [published(home, tmp_path, content) for content in (b"one", b"two", b"three")]


def test_a_verification_is_read_as_it_was_written(home: Path, tmp_path: Path) -> None:
    folder = published(home, tmp_path)
    assert read_verification(folder) is None
    assert "not verified" in repr(open_artifacts(folder))
    write_verification(folder, verification_of(folder))
    assert read_verification(folder) == verification_of(folder)
    assert "not verified" not in repr(open_artifacts(folder))
    assert withdraw_verification(folder) and not withdraw_verification(folder)
    assert read_verification(folder) is None


def test_a_verification_of_another_manifest_does_not_count(home: Path, tmp_path: Path) -> None:
    folder = verified(published(home, tmp_path))
    edit(folder, lambda values: values.update(toolchain={"torch": "3"}))
    assert read_verification(folder) is None


def test_a_damaged_verification_is_refused(home: Path, tmp_path: Path) -> None:
    folder = published(home, tmp_path)
    (folder / VERIFICATION_NAME).write_text('{"verdict": "PASS"}')
    with pytest.raises(InputError, match=r"verification\.json.*verify again"):
        read_verification(folder)
    (folder / VERIFICATION_NAME).write_text('{"verdict"')
    with pytest.raises(InputError, match=r"read \(Invalid JSON"):
        read_verification(folder)


@pytest.mark.parametrize(
    "changed, counts",
    [
        ({"verdict": "AMBIGUOUS"}, True),
        ({"verdict": "FAIL"}, False),
        ({"verdict": "INTERRUPTED"}, False),
        ({"schema_version": 2}, False),
    ],
)
def test_a_verification_that_says_something_else_does_not_count(
    home: Path, tmp_path: Path, changed: dict[str, Any], counts: bool
) -> None:
    folder = published(home, tmp_path)
    write_verification(folder, verification_of(folder, **changed))
    assert (read_verification(folder) is not None) == counts


def test_a_verification_of_a_schema_to_come_does_not_count(home: Path, tmp_path: Path) -> None:
    folder = published(home, tmp_path)
    (folder / VERIFICATION_NAME).write_text('{"schema_version": 2, "outcome": "PASS"}')
    assert read_verification(folder) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_verification_that_is_a_pipe_is_not_opened(home: Path, tmp_path: Path) -> None:
    folder = published(home, tmp_path)
    os.mkfifo(folder / VERIFICATION_NAME)
    with pytest.raises(InputError, match="no regular file"):
        read_verification(folder)


def test_the_newest_verified_version_is_used(three: list[Path]) -> None:
    home = three[0].parent
    for path in (home, home.parent):  # a model, a store of one model
        assert str(version_to_use(path)) == f"using {three[2]} (not verified)"
    verified(three[0])
    assert str(version_to_use(home)) == (
        f"v3 is newer but not verified; using {three[0]} (verified)"
    )
    verified(three[1])
    assert version_to_use(home).folder == three[1]
    verified(three[2])
    assert str(version_to_use(home)) == f"using {three[2]} (verified)"


def test_a_version_that_is_named_is_taken_as_it_is(three: list[Path]) -> None:
    verified(three[0])
    assert str(version_to_use(three[2])) == f"using {three[2]} (not verified)"


def test_the_last_verified_version_before_another(three: list[Path]) -> None:
    home = three[0].parent
    assert last_verified(home) is None
    verified(three[0])
    verified(three[1])
    newest, before = last_verified(home), last_verified(home, before=three[1])
    assert newest is not None and newest[0] == three[1]
    assert before == (three[0], verification_of(three[0]))
    assert last_verified(home, before=three[0]) is None


def test_gates_in_an_older_manifest_are_no_verification(home: Path, tmp_path: Path) -> None:
    """They do not say over which matrix, and could not be taken back."""
    folder = published(home, tmp_path)
    gate = {"component": "coarse", "name": "x", "verdict": "PASS", "value": 0, "limit": 1}
    edit(folder, lambda values: values.update(gates=[gate]))
    assert open_artifacts(folder).manifest.gates
    assert read_verification(folder) is None
