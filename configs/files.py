"""Writing files so that a stopped run leaves either a whole file or none.

What is being written has a name of ours and is locked by the run that writes it.  A killed run
leaves such files unlocked; the next run that writes to the same folder sweeps them.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .errors import InputError, said
from .text import is_text

try:
    import fcntl
except ImportError:  # where files cannot be locked so, nothing is swept
    _CAN_LOCK = False
else:
    _CAN_LOCK = True

_NOT_WRITABLE = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.ENOTEMPTY,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)


# What a run makes on its way, by what it is for; what tempfile draws follows, and the suffix,
# so that nothing of a person's own is taken for it.
_FILE = ".vampnet-onnx-"
_STAGING = ".staging-"
_TEMPORARY = "vampnet-onnx-run-"
_SUFFIX = ".part"
_DRAWN = re.compile(r"[a-z0-9_]{8}\.part")


class TakenError(InputError):
    """A version that was to be made is there already."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an error.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent, _FILE)
        with _held(lambda: _new_file(path.parent)) as temporary:
            try:
                yield temporary
                _sync(temporary)
                temporary.chmod(_permitted(0o666))
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Append a line to a file, whole or not at all, and never into the line of another run.

    The file is locked for that long, where the system has such locks, and the line is one
    write at its end.  What a killed run left without its end gets one first, so that nothing
    is joined to it.

    Raises:
        InputError: it cannot be written, or is no regular file.
    """
    with file_errors(path), _opened_to_append(path) as (handle, locked):
        size = os.fstat(handle).st_size
        text = line.encode("utf-8") + b"\n"
        if (
            size
            and os.lseek(handle, size - 1, os.SEEK_SET) >= 0
            and os.read(handle, 1) != b"\n"
        ):
            text = b"\n" + text
        try:
            if os.write(handle, text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        except OSError:
            if locked:  # or another run's line could be behind the half of this one
                os.ftruncate(handle, size)
            raise


@contextlib.contextmanager
def _opened_to_append(path: Path) -> Iterator[tuple[int, bool]]:
    """Open a file to append to, alone; gives its handle, and whether others are kept out."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    while True:
        handle = os.open(path, flags, 0o666)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise InputError(f"{path}: is no regular file; move it")
            locked = _wait_for_lock(handle)
            if locked and not _is_at(handle, path):
                continue  # another file was put in its place meanwhile
            yield handle, locked
            return
        finally:
            os.close(handle)


def _wait_for_lock(handle: int) -> bool:
    """Lock an open file as soon as no other run has it; returns whether there are locks."""
    if not _CAN_LOCK:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:  # of a file system that has none
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


@contextlib.contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Give a temporary folder inside `parent`, removed at the end whatever happens.

    To keep what was made, move it out: `publish_folder`.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    with file_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        with _folder_in(parent, _STAGING) as folder:
            yield folder


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder in the system's own place for such, removed at the end.

    Raises:
        InputError: it cannot be made.
    """
    parent = Path(tempfile.gettempdir())
    with contextlib.ExitStack() as stack:
        with file_errors(parent):
            folder = stack.enter_context(_folder_in(parent, _TEMPORARY))
        yield folder


@contextlib.contextmanager
def plainly_named(path: Path) -> Iterator[Path]:
    """Give a name of a file or folder that libraries open which take UTF-8 alone.

    That is the path itself, or a link to it where a name in it is no text.
    """
    if is_text(str(path)):
        yield path
        return
    there = path.absolute()
    with temporary_folder() as folder:
        link = folder / "linked"
        if is_text(path.name):  # files beside it, external data say, are found as well
            link.symlink_to(there.parent)
            yield link / path.name
        else:
            link.symlink_to(there)
            yield link


def publish_folder(staged: Path, target: Path) -> None:
    """Move a staged folder to its final name in one step.

    Raises:
        TakenError: the target exists.
        InputError: it cannot be written.
    """
    with file_errors(target):
        for item in staged.rglob("*"):
            if item.is_file():
                _sync(item)
        staged.chmod(_permitted(0o777))
        try:
            if not target.exists():
                staged.rename(target)
                return
        except OSError as error:
            # Another run may have made it since one looked.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        raise TakenError(f"{target}: exists already and is never overwritten")


def require_place(folder: Path, names: Iterable[str] = ()) -> None:
    """Refuse a folder in which files of these names could not be written, before the work.

    Nothing is left behind: a folder that is missing is not made.

    Raises:
        InputError: it cannot be made or written, or a folder is where a file would go.
    """
    with file_errors(folder):
        there = folder.absolute()
        while not is_there(there):
            if there.is_symlink():
                raise InputError(f"{there}: is a link to nothing; choose another place")
            there = there.parent
        tempfile.TemporaryDirectory(_SUFFIX, _STAGING, there).cleanup()
        for name in names:
            if (folder / name).is_dir():
                raise InputError(f"{folder / name}: is a folder, where a file has to go")


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one clear message.

    Raises:
        InputError: naming the path and the way out.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{path}: the disk is full; free some space or choose another folder."
                " Nothing was left half-written"
            ) from error
        if error.errno == errno.EFBIG:
            raise InputError(
                f"{path}: a file grew too large for this file system or for the limit set on"
                " this process; choose another folder. Nothing was left half-written"
            ) from error
        if error.errno is None and "requested and" in str(error):  # NumPy tells no more
            raise InputError(
                f"{path}: could not be written to its end ({error}): the disk is full, or the"
                " file too large for its file system or for the limit set on this process;"
                " choose another folder. Nothing was left half-written"
            ) from error
        if error.errno in _NOT_WRITABLE or _makes_nothing(error, path):
            reason = error.strerror
            raise InputError(
                f"{error.filename or path}: cannot be written ({reason}); choose another place"
            ) from error
        raise


def _makes_nothing(error: OSError, path: Path) -> bool:
    """Return whether the file system of a path takes nothing new, as /proc does."""
    where = Path(error.filename or "").parent
    return error.errno == errno.ENOENT and where in (path, *path.parents)


def is_there(path: Path) -> bool:
    """Return whether a path exists.

    Raises:
        InputError: the system does not let one look, or the name cannot be one.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a zero byte, say
        raise InputError(f"{str(path)!r} is no file name: {error}") from error
    return True


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: there is none, or it is no JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({said(error)})") from error


def sha256(path: Path) -> str:
    """Return the hex SHA-256 digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _permitted(mode: int) -> int:
    """Return what the umask leaves of a mode; temporary files are made for us alone."""
    umask = os.umask(0o077)  # it is told only by being set
    os.umask(umask)
    return mode & ~umask


def _sync(path: Path) -> None:
    with path.open("r+b") as stream:  # Windows syncs nothing that is open for reading
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _folder_in(parent: Path, prefix: str) -> Iterator[Path]:
    _sweep(parent, prefix)
    with _held(lambda: Path(tempfile.mkdtemp(_SUFFIX, prefix, parent))) as folder:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _new_file(parent: Path) -> Path:
    handle, name = tempfile.mkstemp(_SUFFIX, _FILE, parent)
    os.close(handle)
    return Path(name)


@contextlib.contextmanager
def _held(make: Callable[[], Path]) -> Iterator[Path]:
    """Make a file or folder and lock it, so that it is seen to be in use."""
    while True:
        path = make()
        try:
            lock = _lock(path)
        except (BlockingIOError, FileNotFoundError):
            continue  # just made it looked like one left behind, and another run sweeps it
        if path.exists():
            break
        _unlock(lock)
    try:
        yield path
    finally:
        _unlock(lock)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what killed runs left in a folder; what is in use, or cannot be told, stays."""
    for entry in parent.iterdir():
        name = entry.name
        if not name.startswith(prefix) or not _DRAWN.fullmatch(name.removeprefix(prefix)):
            continue
        with contextlib.suppress(OSError):  # in use, or of somebody else
            lock = _lock(entry)
            if lock is not None:
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)
                _unlock(lock)


def _lock(path: Path) -> int | None:
    """Lock a file or folder; the system lets go of it when the process ends.

    Returns:
        None where the file system, or the platform, has no such locks.

    Raises:
        BlockingIOError: another run has it.
    """
    if not _CAN_LOCK:
        return None
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None
    return handle


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
