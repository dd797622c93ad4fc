"""Standard input and output in the place of files, asked for as ``-``; and named pipes."""

import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import file_errors, is_there, temporary_folder

STANDARD = Path("-")
_INPUT_NAME, _OUTPUT_NAME = "standard input", "standard output"


def require_streams(*, target: Path, source: Path | None = None) -> None:
    """Refuse to read bytes from a terminal, or to write them to one, and what is closed.

    Raises:
        InputError: standard input or output is asked for, and is a terminal or closed.
    """
    # A closed output is not seen by what prints: it has something else in its place by now.
    for path, stream, closed, name in (
        (source, sys.stdin, sys.stdin is None, _INPUT_NAME),
        (target, sys.stdout, sys.__stdout__ is None, _OUTPUT_NAME),
    ):
        if path == STANDARD and (closed or stream.isatty()):
            state = "closed" if closed else "a terminal"
            raise InputError(f"-: {name} is {state}; redirect it, or name a file")


@contextmanager
def input_file(path: Path) -> Iterator[tuple[Path, str]]:
    """Give a file that can be read more than once, and what messages call it.

    That is the file itself, but for ``-`` and named pipes, which are read to their end first.
    """
    piped = path != STANDARD and is_there(path) and stat.S_ISFIFO(path.stat().st_mode)
    if path != STANDARD and not piped:
        yield path, str(path)
        return
    with temporary_folder() as folder:
        file = folder / "audio"
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
        BrokenPipeError: who reads standard output has closed it.
    """
    if path != STANDARD:
        yield path
        return
    with temporary_folder() as folder:
        file = folder / f"audio{suffix}"
        yield file
        with file.open("rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer)
        sys.stdout.buffer.flush()
