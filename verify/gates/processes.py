"""Cases run by several processes, to hunt for seeds that fail.

Each process opens the checkpoint and the artifact for itself; outcomes come back in the order
of the cases, without the arrays that only figures need.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process

import torch

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates
from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.configs.machine import cores
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.verify.sides.export import open_export
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Case

from .case import Outcome, run_case

# From so many seeds on, processes are started unasked: below, opening models takes longer.
MANY_SEEDS = 32

RunCases = Callable[[Sequence[Case]], Iterator[Outcome]]
"""Runs cases in their order; closing its iterator stops what is at work."""

_AHEAD = 4  # cases a process has in waiting; a stop waits for the one at work only


@dataclass(frozen=True)
class Job:
    """What a process needs to run cases of one component.

    Attributes:
        transformers: to open beside the codec.
        runtime: of the export; PyTorch has as many threads.
    """

    artifacts: Artifacts
    record: ComponentRecord
    adapters: Sequence[AdapterRecord]
    checkpoints: Checkpoints
    transformers: tuple[str, ...]
    gates: Gates
    runtime: Runtime


Elsewhere = Callable[[Job], RunCases]


def jobs_for(seeds: int, threads: int) -> int:
    """Return how many processes to start where nobody said: one but for many seeds."""
    if seeds < MANY_SEEDS:
        return 1
    return max(1, cores() // max(threads, 1))


def in_processes(job: Job, jobs: int) -> RunCases:
    """Return what runs cases in several processes."""

    def run(cases: Sequence[Case]) -> Iterator[Outcome]:
        # Spawned, not forked: the runtimes' threads do not survive a fork.
        pool = ProcessPoolExecutor(jobs, get_context("spawn"), _open, (job,))
        waiting, left = deque[Future[Outcome]](), iter(cases)
        try:
            for case in left:
                waiting.append(pool.submit(_run, case))
                if len(waiting) >= _AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise EnvironmentLacksError(
                f"one of {jobs} processes that verified {job.record.id} was killed, perhaps"
                " for want of memory; give fewer with --jobs"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    return run


def start_process(threads: int) -> None:
    """Set up a process of a pool: it ends with the first one, and with nothing else."""
    # An interrupt reaches every process of a terminal; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where the first one is killed, nobody would.
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    torch.set_num_threads(threads)


def _end_with_the_first() -> None:
    first = parent_process()
    if first is not None:
        first.join()
        os._exit(1)


def threads_of(job: Job) -> int:
    """Return the threads of one process: one, where nobody asked for more."""
    return job.runtime.threads or 1


def open_sides(job: Job) -> Sides:
    """Open both sides of a component, in a process that has neither."""
    runtime = replace(job.runtime, threads=threads_of(job))
    models = job.checkpoints.models_for(job.transformers, merged=True)
    export, _, _ = open_export(job.artifacts, job.record, runtime, adapters=job.adapters)
    return Sides(job.record, Reference(models), export)


_opened: tuple[Sides, Gates] | None = None  # of this process


def _open(job: Job) -> None:
    global _opened
    start_process(threads_of(job))
    _opened = open_sides(job), job.gates


def _run(case: Case) -> Outcome:
    assert _opened is not None
    sides, gates = _opened
    return run_case(case, sides, gates).without_arrays()
