"""Cases whose two sides are computed at the same time, by threads of this process.

PyTorch and ONNX Runtime both let go of the interpreter while they compute.  Work of one thread
each fills the cores better than the threads of either library, one side after the other: they
wait for each other at the end of every operator, and some operators have one thread only.
What is computed is the same, whatever else is at work.  Cases are judged by the caller's
thread, in their order.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch

from vampnet_onnx.configs.config import Gates
from vampnet_onnx.configs.machine import cores
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.sides.kept import Kept
from vampnet_onnx.verify.sides.oracle import Oracle, Sides
from vampnet_onnx.verify.subjects.case import Arrays, Case, Computed

from .case import Outcome, both_sides, judge

# Sides of cases that are computed at the same time, however many cores there are: each has
# activations of its own, half a gigabyte for three items of 150 frames at released size.
_MOST_AT_ONCE = 4
_AHEAD = 2  # cases whose results may wait to be judged


@dataclass(frozen=True)
class Threads:
    """How the cores are used.

    Attributes:
        at_once: sides of cases that are computed at the same time.
        each: threads of PyTorch or ONNX Runtime for one of them.
    """

    at_once: int
    each: int

    @classmethod
    def of(cls, wanted: int) -> Self:
        """Share the cores out.

        Args:
            wanted: threads for one side of a case; 0 leaves the choice to this.
        """
        if not wanted:
            at_once = min(cores(), _MOST_AT_ONCE)
            return cls(at_once, cores() // at_once)
        return cls(max(1, min(cores() // wanted, _MOST_AT_ONCE)), wanted)

    @contextmanager
    def of_torch(self) -> Iterator[None]:
        """Give PyTorch the threads of one side, and take them back."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.each)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def in_threads(
    sides: Sides, gates: Gates, threads: Threads
) -> Callable[[Sequence[Case]], Iterator[Outcome]]:
    """Return what runs cases in their order; closing its iterator ends what is at work."""

    def run(cases: Sequence[Case]) -> Iterator[Outcome]:
        pool = _pool(threads)
        begun = deque[tuple[Case, Future[Computed], Future[Arrays]]]()

        def judged() -> Outcome:
            case, expected, found = begun.popleft()
            return judge(case, sides, gates, expected.result, found.result)

        try:
            for case in cases:
                reference, export = both_sides(case, sides)
                begun.append((case, pool.submit(reference), pool.submit(export)))
                if len(begun) > _AHEAD:
                    yield judged()
            while begun:
                yield judged()
        finally:
            pool.shutdown(cancel_futures=True)

    return run


def beforehand(
    reference: Oracle, record: ComponentRecord, cases: Sequence[Case], threads: Threads
) -> Kept:
    """Compute cases on the reference's side alone, for the time after its models are gone."""
    with threads.of_torch():
        pool = _pool(threads)
        try:
            results = {case: pool.submit(reference.run, record, case) for case in cases}
            wait(results.values())
        finally:
            pool.shutdown(cancel_futures=True)
    return Kept(reference.description, results)


def _pool(threads: Threads) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads.at_once, "side", torch.set_num_threads, (threads.each,))
