"""Cases run by the workers of a cluster, in tasks of a few seconds each.

A worker runs what a process of ours runs (`verify.gates.processes`), and outcomes come back
in the order of the cases.  A task of a worker that dies is run again by another one; a worker
that comes anew is held to the same packages and files before its first case.
"""

import pickle
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from uuid import uuid4

import torch
from distributed import Client, Future

from vampnet_onnx.configs.config import Gates
from vampnet_onnx.verify.gates.case import Outcome, run_case
from vampnet_onnx.verify.gates.processes import (
    Elsewhere,
    Job,
    RunCases,
    open_sides,
    threads_of,
)
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Case

from .needs import Needs, lacking
from .workers import Unfit, result_of, this_worker

TASK_S = 2.0
"""Work in one task: long beside what a task costs, short beside what a lost worker repeats."""

_AHEAD = 3  # tasks for every thread of the cluster that may wait or be waited for
_MOST = 2000  # cases of a task


@dataclass(frozen=True)
class _Done:
    """What a task gives: outcomes of its cases, and how long they took."""

    outcomes: list[Outcome]
    seconds: float


def on_cluster(client: Client, needs: Needs) -> Elsewhere:
    """Return what has the cases of a job run by the workers of a cluster.

    Running them raises EnvironmentLacksError where a worker that joined is unfit, or none is
    left.
    """

    def of(job: Job) -> RunCases:
        # Sent with every task: what a worker keeps is lost with it.
        order = zlib.compress(pickle.dumps((job, needs)))
        return lambda cases: _run(client, uuid4().hex, order, cases)

    return of


def _run(client: Client, key: str, order: bytes, cases: Sequence[Case]) -> Iterator[Outcome]:
    waiting: deque[Future[_Done | Unfit]] = deque()
    left, size = iter(cases), 1
    try:
        while True:
            most = _AHEAD * max(1, sum(client.nthreads().values()))
            while len(waiting) < most and (chunk := list(islice(left, size))):
                waiting.append(client.submit(_run_chunk, key, order, chunk, pure=False))
            if not waiting:
                return
            found = result_of(client, waiting[0])
            waiting.popleft()
            each = max(found.seconds / len(found.outcomes), TASK_S / _MOST)
            size = max(1, int(TASK_S / each))
            yield from found.outcomes
    finally:
        client.cancel(list(waiting))


_opening = threading.Lock()
_opened: tuple[str, Sides, Gates, int] | None = None  # of this worker, and for which run


def _run_chunk(key: str, order: bytes, cases: Sequence[Case]) -> _Done | Unfit:
    """Run cases; this is what a task does."""
    global _opened
    with _opening:
        if _opened is None or _opened[0] != key:
            _opened = None  # what an earlier run opened is given back first
            job, needs = pickle.loads(zlib.decompress(order))
            if lack := lacking(needs):
                return Unfit(this_worker(), lack)
            _opened = key, open_sides(job), job.gates, threads_of(job)
        _, sides, gates, threads = _opened
    torch.set_num_threads(threads)  # of this thread
    started = time.monotonic()
    outcomes = [run_case(case, sides, gates).without_arrays() for case in cases]
    return _Done(outcomes, time.monotonic() - started)
