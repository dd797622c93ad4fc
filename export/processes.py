"""Graphs made by several processes at once.

Tracing keeps one core busy, and no thread of Python helps it.  The processes are interpreters
of their own that are told a structure and give a graph: no fork, which the threads of torch do
not survive, and nothing of the program's own main module is run again.
"""

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any, Self

import torch

from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.configs.machine import available_memory, cores

from .passes.base import PassError
from .trace import GraphRequest, OpenGraph, graph_of

_PROCESS_BYTES = 1 << 30  # what one of them takes at its most, 0.6 GB, and some to spare
_LAST_WORDS = 2000  # letters
_LOOK_S = 0.5

_START = (
    "import sys; sys.path[:] = {path!r};"
    " from vampnet_onnx.export.processes import serve; serve({first})"
)


def processes_for(graphs: int) -> int:
    """Return how many processes to make graphs with: one a core, as memory allows."""
    memory = available_memory()
    fitting = graphs if memory is None else memory // _PROCESS_BYTES
    return max(1, min(graphs, cores(), fitting))


class GraphMakers:
    """Processes that make graphs, one after the other each; used in a ``with``.

    One ends when no graph is left for it, and all of them with the ``with``, whatever they
    are at.

    Args:
        requests: for the graphs, in the order in which they are begun.
        count: of the processes.

    Attributes:
        making: gives the graphs.  It raises PassError as `graph_of` does, and
            EnvironmentLacksError where the process was killed.
    """

    def __init__(self, requests: Collection[GraphRequest], count: int) -> None:
        self.making: dict[GraphRequest, Future[OpenGraph]] = {}
        self._requests, self._left, self._count = requests, len(requests), count
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(count)
        self._all: list[_Process] = []
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        """Start them, and with them the graphs."""
        try:
            for _ in range(self._count):
                self._all.append(_Process())
                self._idle.put(self._all[-1])
        except BaseException:
            self.__exit__()
            raise
        self.making = {
            request: self._threads.submit(self._made, request) for request in self._requests
        }
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        for process in self._all:
            process.end()
        self._threads.shutdown(cancel_futures=True)

    def _made(self, request: GraphRequest) -> OpenGraph:
        process = self._idle.get()
        with self._counting:
            self._left -= 1
        try:
            return process.ask(request)
        finally:
            self._idle.put(process)
            if not self._left:  # nor for any other that is idle
                self._end_idle()

    def _end_idle(self) -> None:
        while True:
            try:
                self._idle.get_nowait().end()
            except queue.Empty:
                return


class _Process:
    """One of them."""

    def __init__(self) -> None:
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 closed in `end`
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path, first=os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            # An interrupt reaches the first process of a terminal, which ends the others.
            start_new_session=True,
        )

    def ask(self, request: GraphRequest) -> OpenGraph:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise self._lost(request) from error
        if isinstance(answer, OpenGraph):
            return answer
        if isinstance(answer, PassError):
            raise answer
        raise RuntimeError(f"in the process that made the graph:\n{answer}")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:  # what it was to be told, and no longer can be
                continue

    def _lost(self, request: GraphRequest) -> Exception:
        code = self._process.wait()
        name = request.structure.name
        if code < 0 or code == 137:
            return EnvironmentLacksError(
                f"the process that made the graph of {name} was killed, perhaps for want of"
                " memory; make one graph at a time with --jobs 1"
            )
        self._words.seek(0)
        words = self._words.read().decode(errors="replace")[-_LAST_WORDS:]

        return RuntimeError(f"a process ended ({code}) at the graph of {name}: {words}")


def serve(first: int) -> None:
    """Make the graphs that standard input asks for, until it ends.

    Args:
        first: id of the process that asks.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_the_first, args=(first,), daemon=True).start()
    while True:
        try:
            request: GraphRequest = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer: Any
        try:
            answer = graph_of(request)
        except PassError as error:
            answer = error
        except Exception:  # told by the first process, as its own would be
            answer = traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()


def _end_with_the_first(first: int) -> None:
    """End this process where the first one was killed, which ends it otherwise."""
    while os.getppid() == first:
        time.sleep(_LOOK_S)
    os._exit(1)
