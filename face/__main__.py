"""The command line, ``vampnet-onnx``: one sub-command per thing a person does; no logic.

Exit codes: 0 all gates pass; 1 a gate failed, or a model computed what is not finite; 2 bad
usage, configuration or input; 3 the environment cannot do it; 130 interrupted.
"""

from __future__ import annotations

import signal
import sys

import typer

from vampnet_onnx.commands.bench import bench
from vampnet_onnx.commands.compare import compare
from vampnet_onnx.commands.decode import decode
from vampnet_onnx.commands.demo_clip import demo_clip
from vampnet_onnx.commands.doctor import doctor
from vampnet_onnx.commands.encode import encode
from vampnet_onnx.commands.export import export
from vampnet_onnx.commands.fetch import fetch
from vampnet_onnx.commands.golden import golden
from vampnet_onnx.commands.localise import localise
from vampnet_onnx.commands.make_checkpoint import make_checkpoint
from vampnet_onnx.commands.output import complain
from vampnet_onnx.commands.release import release
from vampnet_onnx.commands.replay import replay
from vampnet_onnx.commands.report import report
from vampnet_onnx.commands.self_test import self_test
from vampnet_onnx.commands.vamp import vamp
from vampnet_onnx.commands.verify import verify
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, NotFiniteError

app = typer.Typer(
    name="vampnet-onnx",
    help="VampNet checkpoints to ONNX files one can trust, with the proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    release,
    export,
    verify,
    report,
    localise,
    replay,
    compare,
    bench,
    self_test,
    vamp,
    encode,
    decode,
    demo_clip,
    fetch,
    make_checkpoint,
    doctor,
):
    app.command(command.__name__.replace("_", "-"))(command)
app.add_typer(golden)


_AGAIN_S = 0.1


class _Interrupted(BaseException):
    """An interrupt or a request to end, so that staging folders are removed on the way out.

    Not a KeyboardInterrupt: the command-line library turns that into exit code 1, which here
    means that a gate failed.
    """


def main() -> None:
    """Run the command line and turn refusals into one line and an exit code."""
    for name in ("SIGINT", "SIGTERM", "SIGALRM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    sys.unraisablehook = _report_unraisable
    try:
        app()
    except (InputError, EnvironmentLacksError, NotFiniteError) as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except _Interrupted:
        complain("interrupted; nothing was left half-written")
        sys.exit(130)
    finally:
        _interrupt_in(0)


def _interrupt(_number: int, _frame: object) -> None:
    """Interrupt, and again until it is on its way out.

    Finalisers drop exceptions, and so do libraries that catch everything.
    """
    _interrupt_in(_AGAIN_S)
    if not _is_on_its_way():
        raise _Interrupted


def _interrupt_in(seconds: float) -> None:
    """Set the alarm that interrupts again, or take it back with 0; Windows has none."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _is_on_its_way() -> bool:
    """Return whether an interrupt is being handled, so that what cleans up is left alone."""
    error = sys.exception()
    while error is not None and not isinstance(error, _Interrupted):
        error = error.__context__
    return error is not None


def _report_unraisable(lost: sys.UnraisableHookArgs) -> None:
    if lost.exc_type is not _Interrupted:  # which comes again
        sys.__unraisablehook__(lost)


if __name__ == "__main__":
    main()
