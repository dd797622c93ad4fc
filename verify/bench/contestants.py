"""Who takes part in a bench: interpreters at work in processes of their own, in turns.

Every contestant gets the same cores, by the affinity of its process where the system has one,
and as many threads; one that does not is refused.  Their threads do not spin, since they would
take a core from whoever comes next (PyTorch's by what the command line sets for all of it);
while one is at work the others wait for a line on standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.reports.timings import Contender

AGAINST = ("torch", "torch-compile", "openvino", "openvino-bf16")
SGEMM = "sgemm"

_SCRIPT = Path(__file__).with_name("worker.py")
_BEGIN = (
    "import sys; n = int(sys.stdin.readline());"
    " exec(compile(sys.stdin.read(n), 'bench worker', 'exec'))"
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Side:
    """A contestant: whose version of the package, on what.

    Attributes:
        runtime: ``onnx`` or one of `AGAINST`.
        python: the interpreter.
        form: of the transformers; empty for float32.
        on: provider and whether TF32 is allowed; empty for the CPU.
    """

    name: str
    runtime: str
    python: str = field(default_factory=lambda: sys.executable)
    form: str = ""
    on: Mapping[str, Any] = field(default_factory=dict)


def interpreter(given: str) -> str:
    """Return the interpreter of ``--beside``.

    Raises:
        InputError: there is no such program.
    """
    found = shutil.which(given)
    if found is None:
        raise InputError(
            f"--beside {given}: no such program; give the python of an environment that has"
            " another version of vampnet-onnx, such as old/bin/python"
        )
    return str(
        Path(found).absolute()
    )  # not resolved: a link is what makes it an environment's


class Worker:
    """A contestant's process; made by `open_worker`.

    Attributes:
        given: cores and threads that it says it has.
        import_s: seconds that its imports took.
    """

    def __init__(
        self, side: Side, process: subprocess.Popen[str], log: Path, *, cores: int
    ) -> None:
        """Send the script to a process that awaits it; `log` has what it prints."""
        self.side = side
        self._process, self._log = process, log
        script = _SCRIPT.read_text("utf-8")
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{len(script)}\n{script}")
        started = self.ask("start", runtime=side.runtime, cores=cores, **side.on)
        try:
            self.given = int(started["cores"]), int(started["threads"])
            self.import_s = float(started["seconds"])
            self.described = Contender(
                name=side.name,
                what=started["what"],
                python=f"{started['python']} ({side.python})",
                source=started["source"],
                threads=self.given[1],
            )
        except (KeyError, TypeError, ValueError) as error:  # what answers is no worker of ours
            raise self._strange("start", json.dumps(started)) from error

    def ask(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Have something done.

        Raises:
            EnvironmentLacksError: the interpreter lacks a package, or the work failed.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": operation, **parameters}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        who = f"{self.side.name} ({self.side.python})"
        if not line:
            code = self._process.wait()
            raise EnvironmentLacksError(
                f"{who} ended (exit code {code}) at {operation!r}: {self._last_words()}"
            )
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise self._strange(operation, line) from error
        if not isinstance(answer, dict):
            raise self._strange(operation, line)
        if "lacks" in answer:
            raise EnvironmentLacksError(f"{who} cannot take part: {answer['lacks']}")
        if "error" in answer:
            raise EnvironmentLacksError(f"{who} failed at {operation!r}: {answer['error']}")
        return answer

    def _strange(self, operation: str, line: str) -> EnvironmentLacksError:
        return EnvironmentLacksError(
            f"{self.side.name} ({self.side.python}) answered {operation!r} with"
            f" {line.strip()[:80]!r}; give the interpreter of an environment that has"
            " vampnet-onnx"
        )

    def _last_words(self) -> str:
        text = self._log.read_text("utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "it said nothing"


@contextlib.contextmanager
def open_worker(
    side: Side, folder: Path, *, cores: int, **environment: str
) -> Iterator[Worker]:
    """Start the process of a contestant on so many cores.

    Args:
        folder: to run in, so that nothing of a person's own is imported.
        environment: further variables.
    """
    log = folder / f"{side.name}.log"
    threads = dict.fromkeys(_THREADS, str(cores))
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [side.python, "-c", _BEGIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            cwd=folder,
            env={**os.environ, **threads, **environment},
            start_new_session=True,  # an interrupt is for us alone
        )
    try:
        yield Worker(side, process, log, cores=cores)
    finally:
        _end(process)


def require_equal(given: Mapping[str, tuple[int, int]]) -> None:
    """Refuse contestants that do not have the same cores and threads, both by name.

    Raises:
        EnvironmentLacksError: naming two that differ.
    """
    (first, one), *others = given.items()
    for other, two in others:
        if one != two:
            raise EnvironmentLacksError(
                f"{first} has {one[0]} cores and {one[1]} threads, {other} {two[0]} and"
                f" {two[1]}: what they take cannot be compared"
            )


def _end(process: subprocess.Popen[str]) -> None:
    """End a process with all that it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
