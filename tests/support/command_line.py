"""Running the command line, in this process or in one of its own, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from vampnet_onnx.commands.output import LINE_STARTS
from vampnet_onnx.configs.files import sha256

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON, which it must be from first to last byte."""
        return json.loads(self.out)


Cli = Callable[..., Result]


def is_progress(line: str) -> bool:
    """Return whether a line only says what is at work, as on a slow machine."""
    return not line.strip() or line.startswith(LINE_STARTS)


def refused(result: Result, *words: str) -> None:
    """Check for exit code 2 and one message, on standard error alone."""
    assert result.code == 2, result
    assert result.out == ""
    message = [line for line in result.err.splitlines() if not is_progress(line)]
    assert len(message) == 1 and message[0].startswith("error: "), result.err
    for word in words:
        assert word in message[0], message[0]


def process(*arguments: object, cwd: Path = ROOT, **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "vampnet_onnx", *(str(a) for a in arguments)],
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        **options,
    )


def files_below(folder: Path) -> list[str]:
    found = folder.rglob("*") if folder.exists() else ()
    return sorted(p.relative_to(folder).as_posix() for p in found if p.is_file())


def vouch_for(
    folder: Path, change: Callable[[dict[str, Any]], None], *, number: int = 0
) -> None:
    """Change what a manifest says of a component and make it vouch for the file as it is."""
    path = folder / "manifest.json"
    values = json.loads(path.read_text("utf-8"))
    record = values["components"][number]
    change(record)
    file = folder / record["file"]["name"]
    record["file"] |= {"sha256": sha256(file), "size": file.stat().st_size}
    path.write_text(json.dumps(values), "utf-8")
