r"""Runtimes in processes of their own: our side of a worker.

A worker is any program that reads requests from standard input, one JSON object a line, and
writes one JSON object a line to standard output; what it has to say besides goes to standard
error.  Arrays lie in files of a folder beside it: raw, little-endian, in C order, one behind
the other, described in the JSON as ::

    {"name": "codes", "dtype": "int64", "shape": [2, 4, 29], "offset": 0}

where `dtype` is NumPy's name and `offset` counts bytes.  Every request has a `do`, and every
answer is what was asked for or ``{"error": "the runtime's own words"}``:

    {"do": "start", "folder": F, "threads": 0}   {"what": "ONNX Runtime 1.18.1, NumPy 1.26",
                                                  "version": "1.18.1"}
                                                 or {"lacks": "what is not installed"}
    {"do": "open", "graph": 1, "path": P}        {}
    {"do": "run", "graph": 1, "arrays": [...]}   {"arrays": [...]}
                   inputs are in F/in.bin        outputs are in F/out.bin
    {"do": "close", "graph": 1}                  {}

It ends when its standard input does.  `oldest_worker.py` beside this file is one, and all
there is to one.  A worker that ends instead of answering is a finding like any error, and is
started again for the next graph.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import plainly_named, temporary_folder
from vampnet_onnx.pipeline.version.session import Opened

from .backend import GraphElsewhere, Running

_INPUTS, _OUTPUTS, _SAID = "in.bin", "out.bin", "stderr"
_LONGEST_SAID = 400
_START_S = 120  # till a program that says nothing is taken for no worker


@dataclass(frozen=True)
class Command:
    """What starts a worker.

    Attributes:
        words: program and arguments; files among them are named in full.
        remedy: the line that installs what it needs.
    """

    words: Sequence[str]
    remedy: str


class Worker:
    """A worker at work; made by `started`."""

    def __init__(self, command: Command, folder: Path, threads: int) -> None:
        """Start it.

        Raises:
            InputError: it does not start, or lacks something.
        """
        self._command, self._folder, self._threads = command, folder, threads
        self._at_work = threading.RLock()  # it answers one at a time, in one file
        self._opened, self._closed = 0, list[int]()
        self._process: subprocess.Popen[str] | None = None
        self.facts = self._start()

    def open(self, path: Path) -> Opened:
        """Load a graph.

        Raises:
            InputError: the runtime cannot load it.
        """
        with self._at_work, plainly_named(path.absolute()) as file:
            if self._process is None:
                self._start()
            self._opened += 1
            number = self._opened
            answer = self._ask("open", graph=number, path=str(file))
            if "error" in answer:
                raise InputError(f"{path}: {self._what} cannot load it: {answer['error']}")
            compute = partial(self._run, self._process, number, path.name)
            graph = GraphElsewhere(path, compute, self._what)
        weakref.finalize(graph, self._closed.append, number)
        return graph

    def end(self) -> None:
        """End it, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    @property
    def _what(self) -> str:
        return str(self.facts["what"])

    def _start(self) -> dict[str, Any]:
        with (self._folder / _SAID).open("wb") as log:
            self._process = subprocess.Popen(
                list(self._command.words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env={n: v for n, v in os.environ.items() if not n.startswith("PYTHON")},
            )
        hangs = threading.Timer(_START_S, self._process.kill)
        hangs.start()
        facts = self._ask("start", folder=str(self._folder), threads=self._threads)
        hangs.cancel()
        for kind in ("error", "lacks"):
            if kind in facts:
                self.end()
                raise InputError(f"{facts[kind]}; {self._command.remedy}")
        return facts

    def _run(
        self,
        process: subprocess.Popen[str] | None,
        number: int,
        who: str,
        inputs: Mapping[str, np.ndarray],
    ) -> dict[str, np.ndarray]:
        with self._at_work:
            if self._process is not process or process is None:
                raise InputError(f"{who}: does not run: its process has ended")
            described = write_arrays(self._folder / _INPUTS, inputs)
            answer = self._ask("run", graph=number, arrays=described)
            if "error" in answer:
                raise InputError(f"{who}: does not run: {answer['error']}")
            return read_arrays(self._folder / _OUTPUTS, answer["arrays"])

    def _ask(self, do: str, **more: Any) -> dict[str, Any]:
        while self._closed:
            self._say({"do": "close", "graph": self._closed.pop()})
        return self._say({"do": do, **more})

    def _say(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            answer = None
        if isinstance(answer, dict):
            return answer
        if line:
            self.end()
            return {"error": f"its worker answered {line.strip()[:_LONGEST_SAID]!r}, no JSON"}
        code = process.wait()
        self.end()
        return {"error": f"its process ended ({_ending(code)}): {self._last_words()}"}

    def _last_words(self) -> str:
        text = (self._folder / _SAID).read_text("utf-8", errors="replace").strip()
        return text.splitlines()[-1][:_LONGEST_SAID] if text else "it said nothing"


@contextlib.contextmanager
def started(command: Command, threads: int) -> Iterator[Worker]:
    """Start a worker, and end it.

    Raises:
        InputError: it does not start, or lacks something.
    """
    with temporary_folder() as folder:
        worker = Worker(command, folder, threads)
        try:
            yield worker
        finally:
            worker.end()


@contextlib.contextmanager
def running(command: Command, threads: int) -> Iterator[Running]:
    """Start a worker as the matrix takes it."""
    with started(command, threads) as worker:
        facts = worker.facts
        yield Running(str(facts["what"]), str(facts["version"]), worker.open)


def lacking(command: Command) -> str:
    """Say why a worker does not start; empty if it does."""
    if shutil.which(command.words[0]) is None:
        return f"{command.words[0]} is not there; {command.remedy}"
    try:
        with started(command, 1):
            return ""
    except InputError as error:
        return str(error)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Write arrays one behind the other, and return what describes them."""
    described, offset = list[dict[str, Any]](), 0
    with path.open("wb") as file:
        for name, array in arrays.items():
            plain = np.ascontiguousarray(array).astype(
                array.dtype.newbyteorder("<"), copy=False
            )
            file.write(plain.tobytes())
            shape = list(array.shape)
            described.append(
                {"name": name, "dtype": array.dtype.name, "shape": shape, "offset": offset}
            )
            offset += plain.nbytes
    return described


def read_arrays(path: Path, described: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Read arrays back."""
    data, found = path.read_bytes(), dict[str, np.ndarray]()
    for item in described:
        kind = np.dtype(item["dtype"]).newbyteorder("<")
        count = int(np.prod(item["shape"], dtype=np.int64))
        flat = np.frombuffer(data, kind, count, int(item["offset"]))
        found[item["name"]] = flat.reshape(item["shape"]).astype(kind.newbyteorder("="))
    return found


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
