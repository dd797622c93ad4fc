"""The oldest ONNX Runtime that files are for, in an interpreter of its own.

It takes NumPy 1, and so does not share an environment with ours.
"""

import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.errors import InputError

from .backend import Running
from .process import Command, lacking, running, started

VERSION = "1.18"
VARIABLE = "VAMPNET_ONNX_OLDEST"
REMEDY = (
    "build its interpreter with 'nox -s oldest' in a checkout, or anywhere with: python3.11"
    f" -m venv oldest && oldest/bin/pip install 'onnxruntime=={VERSION}.*' 'numpy<2'"
    f" && export {VARIABLE}=$PWD/oldest/bin/python"
)
_WORKER = Path(__file__).with_name("oldest_worker.py")
# Where nox builds it, below the working folder or the checkout that this is run from.
_BUILT = Path("build", "oldest")
_CHECKOUT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Oldest:
    """ONNX Runtime 1.18, through a worker."""

    name: str = "oldest"

    def lacks(self) -> str:
        """Say whether the interpreter is missing, or lacks something.

        Raises:
            InputError: it has another ONNX Runtime, or the variable names no program.
        """
        python = interpreter()
        if python is None:
            return REMEDY
        lacks = lacking(_command(python))
        if lacks:
            return lacks
        with started(_command(python), 1) as worker:
            version = str(worker.facts["version"])
        if not version.startswith(f"{VERSION}."):
            raise InputError(
                f"{python} has ONNX Runtime {version}, and oldest is {VERSION}: {REMEDY}"
            )
        return ""

    def start(self, threads: int) -> AbstractContextManager[Running]:
        """Start the worker."""
        python = interpreter()
        assert python is not None, "asked to start though it lacks an interpreter"
        return running(_command(python), threads)


def interpreter() -> str | None:
    """Return the interpreter: the one that the variable names, or the one that nox built.

    Raises:
        InputError: the variable names no program.
    """
    given = os.environ.get(VARIABLE)
    if given:
        found = shutil.which(given)
        if found is None:
            raise InputError(f"{VARIABLE}={given}: no such program; {REMEDY}")
        return found
    places = (root / _BUILT for root in (Path.cwd(), _CHECKOUT))
    scripts = (place / folder for place in places for folder in ("bin", "Scripts"))
    return next(filter(None, (shutil.which("python", path=str(s)) for s in scripts)), None)


def _command(python: str) -> Command:
    # Isolated: neither this folder nor what our environment says is in its path.
    return Command((python, "-I", str(_WORKER)), REMEDY)


BACKENDS = (Oldest(),)
