"""Progress on standard error, so that standard output stays clean for results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed


@contextlib.contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function ``(name, done, total)`` that draws one line a name."""
    columns = (
        SpinnerColumn(), TextColumn("{task.description:18}"), BarColumn(),
        MofNCompleteColumn(), Elapsed(),
    )  # fmt: skip
    tasks: dict[str, int] = {}
    with Progress(*columns, console=console, transient=True) as progress:

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(progress.task_ids[tasks[name]], completed=done, total=total)

        yield update


@contextlib.contextmanager
def spinner(console: Console, text: str) -> Iterator[Callable[[str], None]]:
    """Show that something is at work; gives a function that says what on."""
    with console.status(text) as status:
        yield lambda item: status.update(f"{text}: {item}")
