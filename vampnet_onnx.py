"""The command line, ``vampnet-onnx``: one sub-command per thing a person does; no logic.

Exit codes: 0 all gates pass; 1 a gate failed; 2 bad usage, configuration or input; 3 the
environment cannot do it; 130 interrupted.
"""

from __future__ import annotations

import signal
import sys

import click
import typer

from commands.doctor import doctor
from commands.export import export
from commands.fetch import fetch
from commands.make_checkpoint import make_checkpoint
from commands.output import complain
from commands.release import release
from commands.report import report
from commands.verify import verify
from configs.errors import EnvironmentLacksError, InputError

app = typer.Typer(
    name="vampnet-onnx",
    help="VampNet checkpoints to ONNX files one can trust, with the proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (release, export, verify, report, fetch, make_checkpoint, doctor):
    app.command(command.__name__.replace("_", "-"))(command)


def main() -> None:
    """Run the command line and turn refusals into one line and an exit code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(standalone_mode=False)
    except (InputError, EnvironmentLacksError) as error:
        complain(str(error))
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted; nothing was left half-written")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _stop(_number: int, _frame: object) -> None:
    # Ends like an interrupt, so that staging folders are removed.
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
