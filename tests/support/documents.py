"""The code blocks of a document, step by step, as a person would paste them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPECTED = re.compile(r"\s+# exits with (\d+)$")
_HEREDOC = re.compile(r"<<'(\w+)'$")
# A row of a table: what somebody wants, and a command.
_ROW = re.compile(r"^\| ([^|]+) \| `([^`]+)`([^|]*) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One command of a shell, or a whole snippet of Python, and its exit code.

    Attributes:
        expected: lines of the block of text behind it, which a command's output has; an
            ellipsis in one stands for anything.
    """

    kind: str
    text: str
    line: int
    code: int = 0
    expected: tuple[str, ...] = ()


def steps(document: Path) -> Iterator[Step]:
    """Give every step of every block, in the order in which they stand."""
    text = document.read_text("utf-8")
    before: Step | None = None
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(2)) + 1
        if block[1] == "text":
            assert before is not None, f"{document}:{line}: output of no command"
            before = replace(before, expected=tuple(block[2].splitlines()))
            continue
        made = (
            _commands(block[2], line) if block[1] == "sh" else [Step(block[1], block[2], line)]
        )
        for step in made:
            if before is not None:
                yield before
            before = step
    if before is not None:
        yield before


def _commands(block: str, first: int) -> Iterator[Step]:
    numbered = iter(enumerate(block.splitlines(), first))
    for number, written in numbered:
        expected = _EXPECTED.search(written)
        command = _EXPECTED.sub("", written)
        if heredoc := _HEREDOC.search(command):
            body = [command]
            while body[-1] != heredoc[1]:
                body.append(next(numbered)[1])
            yield Step("sh", "\n".join(body) + "\n", number)
            continue
        *before, last = command.split(" && ")
        yield from (Step("sh", part, number) for part in before)
        yield Step("sh", last, number, int(expected[1]) if expected else 0)


def table_of_commands(document: Path) -> list[tuple[str, str]]:
    """Return the rows of the table: what somebody wants, and the command for it."""
    return [(row[1], row[2]) for row in _ROW.finditer(document.read_text("utf-8"))]
