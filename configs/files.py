"""Writing files so that a stopped run leaves either a whole file or none."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

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


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an error.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    with file_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """Give a temporary folder inside `parent`, removed at the end whatever happens.

    To keep what was made, move it out: `publish_folder`.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    with file_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=".staging-"))
    try:
        with file_errors(parent):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish_folder(staged: Path, target: Path) -> None:
    """Move a staged folder to its final name in one step.

    Raises:
        InputError: the target exists or cannot be written.
    """
    with file_errors(target):
        for item in staged.iterdir():
            _sync(item)
        staged.chmod(0o755)
        try:
            if not target.exists():
                staged.rename(target)
                return
        except OSError as error:
            # Another run may have made it since one looked.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        raise InputError(f"{target}: exists already and is never overwritten")


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
        if error.errno in _NOT_WRITABLE:
            reason = os.strerror(error.errno)
            raise InputError(
                f"{error.filename or path}: cannot be written ({reason}); choose another place"
            ) from error
        raise


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


def sha256(path: Path) -> str:
    """Return the hex SHA-256 digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
