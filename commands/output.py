"""What the commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import codecs
import contextlib
import inspect
import io
import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.machine import peak_memory
from vampnet_onnx.configs.store import HUB, find_version
from vampnet_onnx.configs.text import as_text, byte_of
from vampnet_onnx.reports.summary import format_number, headroom_factor

if TYPE_CHECKING:
    from vampnet_onnx.configs.verification import Chosen
    from vampnet_onnx.pipeline.jobs import Written
    from vampnet_onnx.reports import Gate, Report

out = Console(soft_wrap=True, highlight=False, emoji=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)


# Where nobody watches (a pipe, a CI's log), a line says what is at work: the first after so
# many seconds, for what is done sooner needs none, then one every so many.
FIRST_LINE_S, NEXT_LINE_S = 2.0, 5.0
LINE_STARTS = "  … "

_WIDEST = 1000  # columns of a table


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function ``(name, done, total)`` that draws one line a name.

    Where standard error is no terminal, it is told in lines.
    """
    if not _is_watched():
        with _lines() as tell:
            yield lambda name, done, total: tell(
                f"{name}, {done} of {total}" if total > 1 else name
            )
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    tasks: dict[str, int] = {}
    with Progress(*columns, console=err, transient=True) as progress:

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(progress.task_ids[tasks[name]], completed=done, total=total)

        yield update


@contextlib.contextmanager
def spinner(text: str) -> Iterator[Callable[[str], None]]:
    """Show that something is at work; gives a function that says what on."""
    if not _is_watched():
        with _lines() as tell:
            tell(text)
            yield lambda item: tell(f"{text}: {item}")
        return
    with err.status(text) as status:
        yield lambda item: status.update(f"{text}: {item}")


def _is_watched() -> bool:
    """Return whether somebody sees what moves on standard error."""
    return err.is_terminal and err.file.isatty()


@contextlib.contextmanager
def _lines() -> Iterator[Callable[[str], None]]:
    """Give a function that is told what is at work; a line every few seconds says it."""
    started, now = time.monotonic(), ""
    ended = threading.Event()

    def tell(text: str) -> None:
        nonlocal now
        now = text

    def write() -> None:
        wait = FIRST_LINE_S
        while not ended.wait(wait):
            wait = NEXT_LINE_S
            if not now:
                continue  # nobody has said yet what is at work
            line = f"{LINE_STARTS}{now} ({time.monotonic() - started:.0f} s)\n"
            with contextlib.suppress(OSError):  # whoever read it is gone; the work goes on
                sys.stderr.write(line)
                sys.stderr.flush()

    # Of no consequence: it must not keep a process from its end.
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield tell
    finally:
        ended.set()
        writer.join()


def print_verdict(result: Report) -> None:
    """Print a line a component, why it failed and which gates did, and the verdict."""
    from vampnet_onnx.reports.summary import (
        counted,
        describe_cause,
        describe_gate,
        runtime_table,
    )

    colour = {"PASS": "green", "FAIL": "red"}.get(result.verdict, "yellow")
    shown = result.components
    if result.runtimes is not None:
        columns = ["", *(column.name for column in result.runtimes.columns)]
        rows = runtime_table(result)
        print_table(columns, [[name, *(c.word for c in cells)] for name, cells in rows])
        shown = [part for part in shown if part.verdict == "FAIL"]
    for part in shown:
        out.print(f"  {part.id:27} {part.verdict:10} {counted(part.cases_ran, 'case')}")
        for cause in part.causes:
            out.print(f"    {describe_cause(cause)}", style="red", markup=False)
            out.print(f"      {cause.command}", markup=False)
        said = set[str]()
        for gate in part.gates:
            if gate.verdict == "FAIL":
                where = f", in {gate.worst_case}" if gate.worst_case else ""
                told = f": {gate.message}" if {gate.message} - said - {""} else ""
                said.add(gate.message)  # one reason may break many gates
                out.print(f"    {describe_gate(gate)}{where}{told}", markup=False)
    for note in result.notes:
        out.print(f"  {note}", markup=False)
    out.print(result.verdict_line, style=colour, markup=False)


def gate_facts(gate: Gate) -> dict[str, object]:
    """Return a gate as JSON tells it: what was measured, the limit, and how far apart.

    ``headroom`` is a factor, 1 at the limit and less beyond it; null of what is no number.
    """
    return {
        "name": gate.name,
        "verdict": gate.verdict.value,
        "value": gate.value,
        "limit": gate.limit,
        "direction": gate.direction,
        "unit": gate.unit,
        "headroom": headroom_factor(gate),
        "worst_case": gate.worst_case,
    }


def print_report(page: Path, *, replaced: bool) -> None:
    """Print where a report is, and whether an earlier one was there."""
    earlier = " (in place of an earlier one)" if replaced else ""
    out.print(f"  report     {page}{earlier}", markup=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as wide as it is: a number that is cut says nothing."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for cells in rows:
        table.add_row(*cells)
    wide = out.options.update(max_width=_WIDEST)
    table.width = out.measure(table, options=wide).maximum
    out.print(table, crop=False)


def cost(started: float) -> dict[str, float | None]:
    """Return seconds since `started` and the peak memory of this process in bytes.

    The memory is None where the system keeps no count.
    """
    return {
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_bytes": peak_memory(),
    }


def print_cost(started: float, *, to: Console = out) -> None:
    """Print seconds and peak memory since `started`, a monotonic time."""
    peak = peak_memory()
    memory = "" if peak is None else f", peak memory {peak / 1e9:.2f} GB"
    to.print(f"  {time.monotonic() - started:.1f} s{memory}")


def told_on(target: Path, *, as_json: bool = False) -> Console:
    """Return where results are told: on standard error where standard output gets a file.

    Raises:
        InputError: JSON is asked for, which would come in between.
    """
    if str(target) != "-":
        return out
    if as_json:
        raise InputError("--json prints on standard output, which gets OUT (-): name a file")
    return err


def print_json(value: object) -> None:
    """Print a result for a machine; what is not finite as a string, as in reports."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return format_number(value)
    return value


def print_version(chosen: Chosen, runs: Sequence[str] = ()) -> None:
    """Print which version is used, on standard error: results alone go to standard output.

    Args:
        runs: where components run, where that is not the usual.
    """
    err.print(f"  {chosen}", markup=False)
    for line in runs:
        err.print(f"  {line}", markup=False)


def version_facts(chosen: Chosen, runs: Sequence[str] = ()) -> dict[str, object]:
    """Return which version is used, as JSON tells it; arguments as of `print_version`."""
    facts: dict[str, object] = {"artifacts": str(chosen.folder), "verified": chosen.verified}
    return {**facts, "runs": list(runs)} if runs else facts


def here(artifacts: Path) -> Path:
    """Return where artifacts are: those on a hub are fetched, which somebody may watch."""
    if not str(artifacts).startswith(HUB):
        return artifacts
    from vampnet_onnx.configs.hub.version import fetched_version

    with progress_bar() as bar:
        return fetched_version(artifacts, bar)


def newest_of(*paths: Path) -> list[str]:
    """Return the versions, or files, that paths mean to a command that checks.

    Raises:
        InputError: a path means none.
    """
    return [str(path if path.is_file() else find_version(path)) for path in paths]


def print_written(
    files: Sequence[Written], *, as_json: bool = False, to: Console = out, **facts: object
) -> None:
    """Print the files that a job wrote and what is in those of audio, or JSON with more."""
    if as_json:
        audio = [file.audio.to_json() for file in files if file.audio is not None]
        print_json({"files": [str(file.path) for file in files], "audio": audio, **facts})
        return
    for file in files:
        told = "" if file.audio is None else f"  {file.audio}"
        to.print(f"  {file.path}{told}", markup=False)


def print_files(files: Iterable[Path], *, as_json: bool = False, to: Console = out) -> None:
    """Print the files that were written, a line each, or as JSON."""
    if as_json:
        print_json({"files": [str(path) for path in files]})
        return
    for path in files:
        to.print(f"  {path}", markup=False)


def remark(message: str) -> None:
    """Print one line that somebody should know and that stops nothing, on standard error."""
    err.print(f"note: {_shown(message)}", markup=False)


def complain(message: str) -> None:
    """Print one line about what went wrong, on standard error."""
    err.print("[red]error:[/red] ", end="")
    err.print(_shown(message), markup=False)


def _shown(message: str) -> str:
    """Return a message without line ends and escape sequences of names in untrusted files."""
    return "".join(c if c.isprintable() else _escaped(c) for c in message)


def flowing(text: str) -> str:
    """Return a docstring with its paragraphs unbroken; what is indented stays."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", inspect.cleandoc(text))


def print_any_name() -> None:
    """Let standard output and error take every name: what their encoding lacks is escaped.

    One that is closed takes everything, and shows nothing.
    """
    codecs.register_error("escaped", _escape_all)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="escaped")


def _escape_all(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = as_text(error.object[error.start : error.end])
    return wrong.encode("ascii", "backslashreplace").decode(), error.end


def _escaped(character: str) -> str:
    return f"\\x{(byte_of(character) or [ord(character)])[0]:02x}"
