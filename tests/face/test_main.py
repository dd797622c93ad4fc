"""The command line as a person meets it: exit codes, one message, nothing half-written."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.core import TyperGroup

import vampnet_onnx
from tests.support.command_line import Cli, files_below, process, refused
from vampnet_onnx import program
from vampnet_onnx.commands import doctor
from vampnet_onnx.configs.interrupts import INTERRUPTED, Interrupted

# Help.


def commands() -> list[tuple[str, Any]]:
    group = typer.main.get_command(program.app)
    assert isinstance(group, TyperGroup)
    return sorted(group.commands.items())


def leaves() -> dict[str, Callable[..., Any]]:
    """Return the function of every command, by its whole name such as ``golden check``."""
    apps = (("", program.app), ("golden ", program.golden), ("ci ", program.ci))
    return {
        f"{before}{info.name}": info.callback
        for before, app in apps
        for info in app.registered_commands
        if info.callback is not None
    }


@pytest.mark.parametrize("name, command", commands(), ids=[name for name, _ in commands()])
def test_every_command_argument_and_option_has_help(name: str, command: Any) -> None:
    assert command.help and len(command.help.splitlines()[0]) > 15, name
    for parameter in command.params:
        if parameter.name != "help" and not getattr(parameter, "hidden", False):
            assert getattr(parameter, "help", None), f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_of_every_command_prints(cli: Cli, name: str) -> None:
    result = cli(name, "--help")
    assert result.code == 0 and name in result.out


@pytest.mark.parametrize("name", leaves())
def test_help_breaks_its_lines_where_a_terminal_does(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    printed = [line.strip() for line in cli(*name.split(), "--help").out.splitlines()]
    assert not [line for line in printed if "…" in line], "a name is cut"
    written = inspect.cleandoc(leaves()[name].__doc__ or "").split("\n\n")
    assert len(written) > 1 or name == "doctor"
    for paragraph in written:
        examples = paragraph.startswith(("Example", "  "))
        lines = paragraph.splitlines() if examples else textwrap.wrap(paragraph, 78)
        for line in lines:
            assert line.strip() in printed


def test_the_version_is_told(cli: Cli) -> None:
    told = cli("--version")
    assert (told.code, told.out.strip()) == (0, f"vampnet-onnx {vampnet_onnx.__version__}")


_AS_INSTALLED = """
import sys
from vampnet_onnx.__main__ import main
sys.argv[0] = "vampnet-onnx"
main()
"""


def test_a_shell_can_learn_the_commands() -> None:
    asked = {"COMP_WORDS": "vampnet-onnx lo", "COMP_CWORD": "1"}
    told = subprocess.run(
        [sys.executable, "-c", _AS_INSTALLED],
        env={**os.environ, **asked, "_VAMPNET_ONNX_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.split() == ["localise"], told.stderr


def test_help_lists_every_command(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    names = [name for name, _ in commands()]
    assert len(names) > 15 and [name for name in names if name not in result.out] == []


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("export", "--nonsense"),
        ("verify",),
        ("report",),
        ("export", "--opset", "twenty"),
        ("export", "--version", "0"),
        ("make-checkpoint",),
        ("make-checkpoint", "x", "--seed", "-1"),
    ],
)
def test_wrong_usage_exits_with_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).code == 2


# Input that is refused.


def test_control_characters_of_a_file_never_reach_the_terminal(
    cli: Cli, nano: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(nano, tmp_path / "set"))
    content = torch.load(folder / "codec.pth", weights_only=True)
    content["state_dict"]["a\nerror: [bold]\x1b[31mred\x1b]0;title\x07[/bold]"] = torch.ones(1)
    torch.save(content, folder / "codec.pth")
    result = cli("export", "--checkpoint", folder, "--artifacts", tmp_path / "out")
    refused(result, "unexpected keys: 1", "[bold]")
    assert "\x1b" not in result.err and "\x07" not in result.err


@pytest.mark.parametrize("command", ["export", "release", "verify", "make-checkpoint"])
def test_a_place_below_a_file_is_refused(
    cli: Cli, nano: Path, store: Path, config: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / "x"
    arguments: dict[str, tuple[object, ...]] = {
        "export": ("--checkpoint", nano, "--component", "coarse", "--artifacts", place),
        "release": (config, "--artifacts", place, "--report", tmp_path / "report"),
        "verify": (store, "--config", config, "--report", place),
        "make-checkpoint": (place,),
    }
    refused(cli(command, *arguments[command]), "cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


# What nobody expected.


def _failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine() -> None:
        raise error

    monkeypatch.setattr(doctor, "examine", examine)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("division by zero\nand more"),
        EOFError(),
        AssertionError(),
        OSError(errno.EIO, "broken"),
        typer.Abort(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_our_own_is_4_and_one_line_that_names_a_file_with_the_rest(
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
) -> None:
    """Never 1, which would read as a gate that failed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _failing(error, monkeypatch)
    for number in (1, 2):  # one file does not take the other's place
        result = cli("doctor", "--json")
        assert (result.code, result.out) == (4, "")
        (line,) = result.err.splitlines()
        assert line.startswith("error: ") and type(error).__name__ in line
        files = list(tmp_path.glob("vampnet-onnx-fault-*.txt"))
        assert len(files) == number and any(str(file) in line for file in files)
    text = files[0].read_text("utf-8")
    assert "command: vampnet-onnx doctor --json" in text and "onnxruntime: " in text
    assert "Traceback" in text and "in examine" in text


@pytest.mark.parametrize(
    "error, code, words",
    [
        (MemoryError(), 3, "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 3, "memory"),
        (OSError(errno.EMFILE, "Too many open files"), 3, "Too many open files"),
        (OSError(errno.ENOSPC, "full", "/somewhere/x"), 2, "/somewhere/x: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "/x: Permission denied"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_system_refuses_is_no_fault(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, words: str
) -> None:
    _failing(error, monkeypatch)
    result = cli("doctor")
    assert result.code == code and words in result.err and len(result.err.splitlines()) == 1


def test_a_fault_in_a_thread_is_not_lost(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def app() -> None:
        thread = threading.Thread(target=divmod, args=(1, 0))
        thread.start()
        thread.join()

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(program, "app", app)
    result = cli()
    assert result.code == 4 and "ZeroDivisionError" in result.err


@pytest.mark.parametrize("arguments", [("--help",), ("doctor",), ("doctor", "--json")])
def test_output_that_nobody_reads_is_141_without_a_word(arguments: tuple[str, ...]) -> None:
    running = process(*arguments)
    assert running.stdout is not None and running.stderr is not None
    running.stdout.close()
    assert running.stderr.read() == ""
    assert running.wait(timeout=60) == 141


@pytest.mark.parametrize("arguments", [("--help",), ("doctor",), ("doctor", "--json")])
def test_output_that_finds_no_room_is_one_message(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vampnet_onnx", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "the disk is full" in done.stderr


# Interrupts and full disks, in processes of their own.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_leaves_nothing_and_exits_with_130(
    nano: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    running = process("export", "--checkpoint", nano, "--artifacts", out)
    deadline = time.monotonic() + 120
    while not list(out.glob("nano/.staging-*/*.onnx")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert stdout == "" and "interrupted; nothing was left half-written" in stderr
    assert "Traceback" not in stderr
    assert list((out / "nano").iterdir()) == []


class _InterruptedWhileFinalised:
    """Its finaliser is interrupted, and Python drops what a finaliser raises."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)


def _interrupted_in_a_finaliser() -> None:
    _InterruptedWhileFinalised()


def _interrupted_in_a_library_that_catches_everything() -> None:
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


@pytest.mark.parametrize(
    "drop", [_interrupted_in_a_finaliser, _interrupted_in_a_library_that_catches_everything]
)
def test_an_interrupt_that_is_dropped_is_not_lost(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, drop: Callable[[], None]
) -> None:
    def app() -> None:
        drop()
        time.sleep(20)

    monkeypatch.setattr(program, "app", app)
    result = cli()  # after an app that went on to its end, the code would be 0
    assert result.code == 130 and "interrupted" in result.err


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_what_a_library_makes_of_an_interrupt_is_no_fault(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """A module of C that is interrupted while it loads raises an ImportError."""
    error = ImportError("numpy.core failed to import")
    setattr(error, link, Interrupted())
    _failing(error, monkeypatch)
    result = cli("doctor")
    assert result.code == 130 and "interrupted" in result.err and "fault" not in result.err


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm here")
def test_an_interrupt_that_was_told_of_does_not_come_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a slow machine a second line said the same before the process ended."""
    signal.setitimer(signal.ITIMER_REAL, 60)
    assert program._told(Interrupted()) == 130
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    assert left == 0 and capsys.readouterr().err.count(INTERRUPTED) == 1


def test_an_interrupt_while_the_commands_load_exits_with_130() -> None:
    code = """
import importlib.abc, os, signal, sys

class Interrupt(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
import vampnet_onnx.__main__ as face
face.main()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 130
    assert done.stderr.splitlines() == [f"error: {INTERRUPTED}"]


def test_next_to_nothing_is_loaded_before_interrupts_are_watched_for() -> None:
    """What comes in that time meets Python's own handler, and its traceback."""
    code = "import sys; found = set(sys.modules); import vampnet_onnx.__main__;"
    code += "print(*sorted(set(sys.modules) - found))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = done.stdout.decode().split()
    rooms = {"vampnet_onnx", "vampnet_onnx.configs", "vampnet_onnx.configs.interrupts"}
    assert rooms < set(loaded) and len(loaded) < 40 and "typer" not in loaded, loaded


@pytest.mark.parametrize("given", ["", "ACTIVE"])
def test_threads_of_pytorch_do_not_spin_unless_somebody_says_so(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given)
    if not given:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    cli("--version")
    assert os.environ["OMP_WAIT_POLICY"] == (given or "PASSIVE")


def test_an_interrupt_lets_what_cleans_up_finish(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = []

    @contextlib.contextmanager
    def slowly_cleaned() -> Iterator[None]:
        try:
            yield
        finally:
            time.sleep(0.5)
            cleaned.append(True)

    def app() -> None:
        with slowly_cleaned():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)

    monkeypatch.setattr(program, "app", app)
    assert cli().code == 130 and cleaned == [True]


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))


@pytest.mark.parametrize("command", ["make-checkpoint", "export", "export-external"])
def test_a_file_that_cannot_grow_is_one_message_and_leaves_nothing(
    nano: Path, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    arguments: tuple[object, ...] = ("make-checkpoint", out)
    if command != "make-checkpoint":
        arguments = (
            "export",
            "--checkpoint",
            nano,
            "--component",
            "coarse",
            "--artifacts",
            out,
        )
    if command == "export-external":
        arguments += ("--external-data",)
    running = process(*arguments, preexec_fn=_small_files_only)
    _, stderr = running.communicate(timeout=120)
    assert running.returncode == 2, stderr
    assert "too large" in stderr and "Traceback" not in stderr
    assert files_below(out) == []
