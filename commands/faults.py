"""What goes wrong in a command, as the one line that a person reads.

Of a fault of our own the rest is in a file, for whoever mends it.
"""

import errno
import os
import platform
import shlex
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, NotFiniteError
from vampnet_onnx.configs.files import file_errors

# What the system refuses a person, wherever it is met.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_TOO_MUCH = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
_PACKAGES = (
    "vampnet-onnx",
    "numpy",
    "onnxruntime",
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxsim",
    "typer",
    "rich",
)
# What a library says that could get no memory, and raises no MemoryError.
_NO_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "bad allocation",
    "Failed to allocate memory",
)
FAULT = 4  # the exit code of one of ours
_LONGEST = 200  # of an error's own words in the line


class Escaped(BaseException):
    """What the command-line library must not see, for it makes exit code 1 of it."""


class Group(TyperGroup):
    """The commands; what fails in one with the system's own errors reaches `main`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for.

        Raises:
            Escaped: from an end of file or an error of the system.
        """
        try:
            return super().invoke(ctx)
        except (EOFError, OSError, typer.Abort) as error:
            raise Escaped from error


def refusal(
    error: BaseException,
) -> InputError | EnvironmentLacksError | NotFiniteError | None:
    """Return what an exception says to the person; None for a fault of our own."""
    if isinstance(error, InputError | EnvironmentLacksError | NotFiniteError):
        return error
    if isinstance(error, MemoryError) or any(word in str(error) for word in _NO_MEMORY):
        return EnvironmentLacksError(
            "the memory is not enough; end other programs, give fewer --jobs, or use a"
            " machine with more"
        )
    if not isinstance(error, OSError):
        return None
    name = str(error.filename or "a file")
    if error.errno in _TOO_MUCH:
        return EnvironmentLacksError(f"the system gives no more: {error.strerror}")
    if error.errno in _FORBIDDEN:
        return InputError(f"{name}: {error.strerror}; change its permissions or take another")
    if error.errno in _FULL:
        try:
            with file_errors(Path(name)):
                raise error
        except InputError as refused:
            return refused
    return None


def words_for(error: BaseException) -> tuple[int, str]:
    """Return the exit code that an exception has, and one line that says what went wrong."""
    known = refusal(error)
    return (FAULT, describe_fault(error)) if known is None else (known.exit_code, str(known))


def describe_fault(error: BaseException) -> str:
    """Write what is known of an exception that nobody expected to a new file.

    Returns:
        One line that names the file; the traceback itself where no file can be written.
    """
    words = str(error).strip().partition("\n")[0][:_LONGEST]
    what = f"{type(error).__name__}: {words}" if words else type(error).__name__
    try:
        file = _write(_told(error))
    except OSError as failure:
        trace = "".join(traceback.format_exception(error))
        return f"this is a fault of vampnet-onnx, not of yours: {what}; {failure}; {trace}"
    return (
        f"this is a fault of vampnet-onnx, not of yours: {what}; what led to it is in {file},"
        " please report it with that"
    )


def _write(text: str) -> Path:
    handle, name = tempfile.mkstemp(".txt", "vampnet-onnx-fault-")
    os.close(handle)
    Path(name).write_text(text, "utf-8", "backslashreplace")
    return Path(name)


def _told(error: BaseException) -> str:
    facts = {
        "command": shlex.join(sys.argv),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": f"{platform.python_version()} on {platform.platform()}",
        **{name: _version(name) for name in _PACKAGES},
    }
    lines = [f"{name}: {value}\n" for name, value in facts.items()]
    return "".join([*lines, "\n", *traceback.format_exception(error)])


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
