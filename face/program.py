"""The command line: one sub-command per thing a person does; no logic.

Exit codes: 0 all gates pass; 1 a gate failed, or a model computed what is not finite; 2 bad
usage, configuration or input; 3 the environment cannot do it; 4 a fault of our own, with its
traceback in a file that the one line names; 130 interrupted; 141 nobody reads our output.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from vampnet_onnx.commands.bench import bench
from vampnet_onnx.commands.ci import ci
from vampnet_onnx.commands.compare import compare
from vampnet_onnx.commands.decode import decode
from vampnet_onnx.commands.demo_clip import demo_clip
from vampnet_onnx.commands.doctor import doctor
from vampnet_onnx.commands.encode import encode
from vampnet_onnx.commands.export import export
from vampnet_onnx.commands.faults import FAULT, Escaped, Group, words_for
from vampnet_onnx.commands.fetch import fetch
from vampnet_onnx.commands.golden import golden
from vampnet_onnx.commands.localise import localise
from vampnet_onnx.commands.make_checkpoint import make_checkpoint
from vampnet_onnx.commands.output import complain, flowing, print_any_name
from vampnet_onnx.commands.publish import publish
from vampnet_onnx.commands.quantise import quantise
from vampnet_onnx.commands.release import release
from vampnet_onnx.commands.release_all import release_all
from vampnet_onnx.commands.replay import replay
from vampnet_onnx.commands.report import report
from vampnet_onnx.commands.self_test import self_test
from vampnet_onnx.commands.serve import serve
from vampnet_onnx.commands.vamp import vamp
from vampnet_onnx.commands.verify import verify
from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.configs.interrupts import (
    EXIT_CODE,
    INTERRUPTED,
    Interrupted,
    comes_of_interrupt,
    dealt_with,
)

_UNREAD = 141


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vampnet-onnx {metadata.version('vampnet-onnx')}")
        raise typer.Exit


app = typer.Typer(
    cls=Group,
    name="vampnet-onnx",
    help="VampNet checkpoints to ONNX files one can trust, with the proof.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    release,
    release_all,
    export,
    verify,
    report,
    localise,
    replay,
    compare,
    bench,
    quantise,
    self_test,
    vamp,
    encode,
    decode,
    serve,
    publish,
    demo_clip,
    fetch,
    make_checkpoint,
    doctor,
):
    app.command(command.__name__.replace("_", "-"))(command)
app.add_typer(golden)
app.add_typer(ci)


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help="Say which this is."
        ),
    ] = False,
) -> None:
    """Take what goes before a command."""


for info in (
    *app.registered_commands,
    *golden.registered_commands,
    *ci.registered_commands,
):
    info.help = flowing(info.callback.__doc__ or "")


def run() -> NoReturn:
    """Run the command line and turn whatever becomes of it into an exit code."""
    print_any_name()
    lost = list[BaseException]()  # of threads, whose exceptions reach nobody
    threading.excepthook = lambda left: lost.extend(filter(None, [left.exc_value]))
    try:
        code = _code()
        if lost and code != EXIT_CODE:
            code = _told(lost[0])
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # libraries make the second of the first
        _drop_output()
        code = _UNREAD
    except OSError as error:
        _drop_output()
        code = _told(error)
    finally:
        dealt_with()
        threading.excepthook = threading.__excepthook__
    sys.exit(code)


def _drop_output() -> None:
    """Let what is left unwritten go, which the interpreter would complain of in the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _code() -> int:
    """Run a command; returns its exit code, after the one line that an error has.

    Raises:
        BrokenPipeError: whoever read the output reads no more.
    """
    try:
        _require_working_folder()
        app()
    except SystemExit as end:
        if isinstance(end.__context__, OSError) and end.__context__.errno == errno.EPIPE:
            raise BrokenPipeError from end  # libraries make exit code 1 of it
        return end.code if isinstance(end.code, int) else 0 if end.code is None else FAULT
    except BrokenPipeError:
        raise
    except Interrupted as error:
        return _told(error)
    except Escaped as error:
        assert error.__cause__ is not None
        return _told(error.__cause__)
    except Exception as error:
        return _told(error)
    return 0


def _require_working_folder() -> None:
    """Refuse to run where the working folder is gone: no library expects that.

    Raises:
        EnvironmentLacksError: it is.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise EnvironmentLacksError(
            "the working folder was deleted; change to one that is there, such as with cd ~"
        ) from error


def _told(error: BaseException) -> int:
    """Say in one line what went wrong; returns the exit code that it has.

    Raises:
        BrokenPipeError: that is what went wrong.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    if comes_of_interrupt(error):  # a module of C makes an ImportError of one
        dealt_with()  # it would come once more, and be told twice
        complain(INTERRUPTED)
        return EXIT_CODE
    code, line = words_for(error)
    complain(line)
    return code
