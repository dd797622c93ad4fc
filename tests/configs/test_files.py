"""Files and folders are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.versions import names
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import publish_folder, replacing, staging_folder


class _Stop(BaseException):
    """Stands for an interrupt."""


@pytest.mark.parametrize("error", [_Stop, KeyboardInterrupt, ValueError, InputError])
def test_staging_is_removed_whatever_stops_it(home: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staging_folder(home) as staging:
        (staging / "half").write_bytes(b"x")
        raise error
    assert names(home) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_clear_message_and_leaves_nothing(home: Path, code: int) -> None:
    with (
        pytest.raises(InputError, match=r"full|too large") as caught,
        staging_folder(home) as staging,
    ):
        (staging / "half").write_bytes(b"x")
        raise OSError(code, os.strerror(code))
    assert str(home) in str(caught.value)
    assert names(home) == []


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM, errno.ELOOP])
def test_a_place_that_cannot_be_written_is_one_clear_message(home: Path, code: int) -> None:
    with pytest.raises(InputError, match="cannot be written"), staging_folder(home):
        raise OSError(code, os.strerror(code), "somewhere")


@pytest.mark.parametrize("below", ["file", "file/deeper", "x" * 300])
def test_a_store_that_cannot_be_made_is_one_clear_message(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(InputError, match="cannot be written"),
        staging_folder(tmp_path / below),
    ):
        pass
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_replaced_file_is_whole_or_untouched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(_Stop), replacing(path) as temporary:
        temporary.write_text("half")
        raise _Stop
    assert path.read_text() == "old" and names(tmp_path) == ["file"]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new" and names(tmp_path) == ["file"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_publishing_over_a_folder_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    with pytest.raises(InputError, match="never overwritten"):
        publish_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "f").read_text() == "b"
