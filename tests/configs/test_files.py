"""Files and folders are written whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.support.versions import names
from vampnet_onnx.configs import files
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import (
    append_line,
    publish_folder,
    replacing,
    require_place,
    staging_folder,
    temporary_folder,
)


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_one_clear_message_where_numpy_writes(home: Path) -> None:
    with (
        pytest.raises(InputError, match="disk is full"),
        staging_folder(home),
        Path("/dev/full").open("wb") as full,
    ):
        np.zeros(100_000).tofile(full)
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


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_what_is_made_is_as_open_as_the_umask_says(home: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with replacing(home / "file") as temporary:
            temporary.touch()
        with staging_folder(home) as staging:
            (staging / "inside").touch()
            publish_folder(staging, home / "folder")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (home / "file", home / "folder")]
    assert modes == [0o666 & ~umask, 0o777 & ~umask]


def test_publishing_over_a_folder_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    with pytest.raises(InputError, match="never overwritten"):
        publish_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "f").read_text() == "b"


# What a killed run leaves behind.


def _killed(make: str, folder: Path) -> None:
    """Run code in a process that is killed in the middle of it."""
    code = f"""
import os, signal, sys
from pathlib import Path
from vampnet_onnx.configs.files import replacing, staging_folder, temporary_folder
folder = Path(sys.argv[1])
with {make} as made:
    (made / "half" if made.is_dir() else made).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run([sys.executable, "-c", code, folder], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "make", ["staging_folder(folder)", "replacing(folder / 'x')", "temporary_folder()"]
)
def test_what_a_killed_run_left_is_swept_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _killed(make, tmp_path)
    (left,) = names(tmp_path)
    others = [
        ".staging-mine",
        ".vampnet-onnx-settings",
        "vampnet-onnx-run-notes",
        ".x.12345678.part",
    ]
    for name in others:
        (tmp_path / name).mkdir()
    made = {
        "staging_folder(folder)": lambda: staging_folder(tmp_path),
        "replacing(folder / 'x')": lambda: replacing(tmp_path / "x"),
        "temporary_folder()": temporary_folder,
    }[make]
    with made() as first, made() as second:  # nor does one sweep what the other is at
        assert left not in names(tmp_path)
        assert first.exists() and second.exists() and first != second
        assert set(others) < set(names(tmp_path))
        for path in (first, second):
            if path.is_file():
                path.write_text("whole")
    assert sorted(set(names(tmp_path)) - {"x"}) == sorted(others)


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    require_place(tmp_path / "new" / "deeper", ["report.json"])
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("in the way")
    proc = Path("/proc")
    nothing_new = [proc, proc / "new" / "deeper"] if proc.is_dir() else []
    for place in (tmp_path / "file", tmp_path / "file" / "deeper", *nothing_new):
        with pytest.raises(InputError, match="cannot be written"):
            require_place(place)
    (tmp_path / "report" / "report.html").mkdir(parents=True)
    require_place(tmp_path / "report", ["report.json"])
    with pytest.raises(InputError, match=r"report\.html: is a folder"):
        require_place(tmp_path / "report", ["report.json", "report.html"])


def test_a_link_to_nothing_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="link: is a link to nothing"):
        require_place(tmp_path / "link" / "report")


_APPENDING = """
import sys
from pathlib import Path
from vampnet_onnx.configs.files import append_line
for i in range(200):
    append_line(Path(sys.argv[1]), sys.argv[2] * 4000 + str(i))
"""


def test_lines_that_processes_append_at_once_are_all_whole(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    line = [sys.executable, "-c", _APPENDING, path]
    running = [subprocess.Popen([*line, name]) for name in "abc"]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    found = path.read_text().split("\n")
    wanted = [name * 4000 + str(i) for name in "abc" for i in range(200)]
    assert sorted(found) == sorted([*wanted, ""])


def test_a_line_without_an_end_gets_one_and_keeps_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("half of")
    append_line(path, "whole")
    append_line(path, "another")
    assert path.read_text() == "half of\nwhole\nanother\n"


def test_a_line_for_which_there_is_no_room_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "lines", os.write
    append_line(path, "first")
    monkeypatch.setattr(os, "write", lambda handle, text: write(handle, text[:3]))
    with pytest.raises(InputError, match="the disk is full"):
        append_line(path, "second")
    monkeypatch.undo()
    assert path.read_text() == "first\n"


def test_a_file_that_was_put_in_its_place_meanwhile_gets_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a merge does, while this run waited for the lock."""
    path, wait = tmp_path / "lines", files._wait_for_lock
    path.write_text("old\n")

    def replaced(handle: int) -> bool:
        if path.read_text() == "old\n":
            (tmp_path / "merged").write_text("merged\n")
            (tmp_path / "merged").replace(path)
        return wait(handle)

    monkeypatch.setattr(files, "_wait_for_lock", replaced)
    append_line(path, "mine")
    assert path.read_text() == "merged\nmine\n"


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="a device of POSIX")
def test_only_a_regular_file_takes_a_line() -> None:
    with pytest.raises(InputError, match="null: is no regular file"):
        append_line(Path("/dev/null"), "x")
