"""Long tasks on the workers of a cluster, which end where nobody waits for them any more."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar
from uuid import uuid4

from distributed import Client, Event

from .needs import Needs, lacking
from .workers import Unfit, result_of, this_worker

T = TypeVar("T")
Task = Callable[[str, Callable[[], bool]], T]
"""Is told the worker that runs it, and what says whether to stop."""


def run_tasks(
    client: Client, tasks: Sequence[tuple[Task[T], Needs]]
) -> Generator[T, None, None]:
    """Run tasks and yield what they give, in their order; one of a lost worker runs again.

    Closing the iterator stops what is at work; the client must be open for it.

    Raises:
        EnvironmentLacksError: a worker has not what a task needs, or none is left.
    """
    name, left = f"vampnet-onnx-stop-{uuid4().hex}", len(tasks)
    futures = [
        client.submit(_run_task, task, needs, name, pure=False) for task, needs in tasks
    ]
    try:
        for future in futures:
            found = result_of(client, future)
            left -= 1
            yield found
    finally:
        if left:
            Event(name, client=client).set()  # what is at work is cancelled by nothing else
        client.cancel(futures)


def _run_task(task: Task[T], needs: Needs, name: str) -> T | Unfit:
    if lack := lacking(needs):
        return Unfit(this_worker(), lack)
    return task(this_worker(), lambda: bool(Event(name).is_set()))
