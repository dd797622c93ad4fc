"""Standard input and output in the place of files, asked for as ``-``; and named pipes."""

import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import file_errors, is_there

STANDARD = Path("-")
_INPUT_NAME, _OUTPUT_NAME = "standard input", "standard output"


def require_streams(*, target: Path, source: Path | None = None) -> None:
    """Refuse to read bytes from a terminal or to write them to one.

    Raises:
        InputError: standard input or output is asked for, and is a terminal.
    """
    if source == STANDARD and sys.stdin.isatty():
        raise InputError(f"-: {_INPUT_NAME} is a terminal; send a file into it, or name one")
    if target == STANDARD and sys.stdout.isatty():
        raise InputError(f"-: {_OUTPUT_NAME} is a terminal; send it to a file, or name one")


@contextmanager
def input_file(path: Path) -> Iterator[tuple[Path, str]]:
    """Give a file that can be read more than once, and what messages call it.

    That is the file itself, but for ``-`` and named pipes, which are read to their end first.
    """
    piped = path != STANDARD and is_there(path) and stat.S_ISFIFO(path.stat().st_mode)
    if path != STANDARD and not piped:
        yield path, str(path)
        return
    with _temporary_file() as file:
        with file_errors(file), file.open("wb") as copy:
            if piped:
                with path.open("rb") as stream:
                    shutil.copyfileobj(stream, copy)
            else:
                shutil.copyfileobj(sys.stdin.buffer, copy)
        yield file, str(path) if piped else _INPUT_NAME


@contextmanager
def output_file(path: Path, suffix: str) -> Iterator[Path]:
    """Give the file to write: the path itself, but for ``-``.

    What is written for ``-`` goes to standard output when the block ends without an error.

    Args:
        suffix: of the format that standard output gets.

    Raises:
        InputError: who reads standard output has closed it.
    """
    if path != STANDARD:
        yield path
        return
    with _temporary_file(suffix) as file:
        yield file
        try:
            with file.open("rb") as stream:
                shutil.copyfileobj(stream, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise InputError(f"-: {_OUTPUT_NAME} was closed before all was written") from error


@contextmanager
def _temporary_file(suffix: str = "") -> Iterator[Path]:
    parent = Path(tempfile.gettempdir())
    with file_errors(parent):
        folder = tempfile.TemporaryDirectory(prefix="vampnet-onnx-")
    with folder as name:
        yield Path(name, f"audio{suffix}")
