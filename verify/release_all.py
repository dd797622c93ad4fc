"""Many releases, one of every configuration of a folder: here in turn, or on a cluster.

What a release takes is data (`Order`), and so is what came of it (`Released`): a configuration
that fails stops no other.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vampnet_onnx.configs.config import Config, load_config
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.files import is_there
from vampnet_onnx.configs.interrupts import EXIT_CODE, INTERRUPTED, Interrupted
from vampnet_onnx.models import Checkpoints

from .release import release_set

Progress = Callable[[str, int, int], None]
Words = Callable[[Exception], tuple[int, str]]
"""Says of an exception its exit code and one line."""

_LOOK_S = 1.0


@dataclass(frozen=True)
class Order:
    """One release.

    Attributes:
        name: of the configuration's file, without its ending.
        source: the file, as commands of the report name it.
        config: with absolute paths.
        artifacts: root of the store, absolute.
        report: folder of its own, absolute.
        jobs: processes that make graphs at once.
    """

    name: str
    source: Path
    config: Config
    artifacts: Path
    report: Path
    cache: bool
    jobs: int | None


@dataclass(frozen=True)
class Released:
    """What came of one configuration.

    Attributes:
        code: exit code that ``release`` would have had.
        verdict: of the report; empty where none was made.
        line: the verdict, or what went wrong.
        folder: of the version, or of the rejected files.
        worker: that released it, of a cluster.
    """

    name: str
    code: int
    line: str
    model: str = ""
    verdict: str = ""
    folder: str = ""
    report: str = ""
    seconds: float = 0.0
    worker: str = ""


def release_all(
    folder: Path,
    *,
    words: Words,
    artifacts: Path | None = None,
    report: Path | None = None,
    scheduler: str | None = None,
    cache: bool = True,
    jobs: int | None = None,
    progress: Progress,
    note: Callable[[str], None] = lambda _text: None,
) -> Iterator[Released]:
    """Release every configuration of a folder, and yield what came of each in their order.

    Args:
        folder: of configurations, ``*.toml``.
        words: for what goes wrong with one of them.
        artifacts: root of the store; each configuration's own if left out.
        report: where reports go, each in a folder named after its configuration; below each
            configuration's own if left out.
        scheduler: of dask.distributed, whose workers release them, one at a time each.
        cache, jobs, note: as of `release.release_set`.
        progress: told what is done, how much, and of how much.

    Raises:
        InputError: there is no such folder, it has no configuration, or two of one model and
            store.
        EnvironmentLacksError: a worker has not what this process has, or none is left.
    """
    if scheduler is not None:
        require_optional("distributed")
    if not folder.is_dir():
        what = "is no folder" if is_there(folder) else "there is no such folder"
        raise InputError(f"{folder}: {what}; name one of configurations, *.toml")
    sources = sorted(folder.glob("*.toml"))
    if not sources:
        raise InputError(f"{folder}: has no configuration, a file named NAME.toml")
    ordered = [_ordered(source, words, artifacts, report, cache, jobs) for source in sources]
    _require_apart([order for order in ordered if isinstance(order, Order)])
    if scheduler is None:
        yield from _here(ordered, words, progress, note)
    else:
        yield from _there(scheduler, ordered, words, progress)


def release_one(
    order: Order,
    words: Words,
    progress: Progress,
    note: Callable[[str], None] = lambda _text: None,
) -> Released:
    """Release one configuration, whatever becomes of it.

    Raises:
        Interrupted: it was.
    """
    started, config = time.monotonic(), order.config
    try:
        found = release_set(
            config,
            artifacts=order.artifacts,
            report=order.report,
            progress=progress,
            source=order.source,
            cache=order.cache,
            jobs=order.jobs,
            note=note,
        )
    except Exception as error:  # told of this one, for the others go on
        code, line = words(error)
        failed = Released(order.name, code, line, model=config.model)
        return replace(failed, seconds=time.monotonic() - started)
    return Released(
        order.name,
        0 if found.published else 1,
        found.report.verdict_line,
        model=config.model,
        verdict=found.report.verdict.value,
        folder=str(found.folder),
        report=str(order.report),
        seconds=time.monotonic() - started,
    )


def _ordered(
    source: Path,
    words: Words,
    artifacts: Path | None,
    report: Path | None,
    cache: bool,
    jobs: int | None,
) -> Order | Released:
    """Return the order of one configuration, or what is wrong with the file."""
    try:
        config = load_config(source.absolute())
    except InputError as error:
        return Released(source.stem, *words(error))
    store = (artifacts or config.output.artifacts).absolute()
    place = (report or config.output.report).absolute() / source.stem
    return Order(source.stem, source, config, store, place, cache, jobs)


def _require_apart(orders: Sequence[Order]) -> None:
    """Refuse two releases that would number the versions of one model between them."""
    seen = dict[tuple[Path, str], Order]()
    for order in orders:
        other = seen.setdefault((order.artifacts, order.config.model), order)
        if other is not order:
            raise InputError(
                f"{order.source}: its model {order.config.model!r} is that of"
                f" {other.source}, too, in {order.artifacts}; give them names of their own"
            )


def _here(
    ordered: Sequence[Order | Released],
    words: Words,
    progress: Progress,
    note: Callable[[str], None],
) -> Iterator[Released]:
    for done, order in enumerate(ordered):
        progress("configurations", done, len(ordered))
        if isinstance(order, Order):
            yield release_one(order, words, _named(progress, order.name), note)
        else:
            yield order
    progress("configurations", len(ordered), len(ordered))


def _named(progress: Progress, name: str) -> Progress:
    return lambda what, done, total: progress(f"{name}: {what}", done, total)


def _there(
    scheduler: str, ordered: Sequence[Order | Released], words: Words, progress: Progress
) -> Iterator[Released]:
    """Release on the workers of a cluster; what is at work ends where this does."""
    from .cluster.needs import Needs, hashes_of, versions
    from .cluster.tasks import run_tasks
    from .cluster.workers import connected, require_same

    known = versions()
    hashed = [_hashed(order, words, hashes_of) for order in ordered]
    files = {name: sha for _, own in hashed for name, sha in own.items()}
    with connected(scheduler) as client:
        progress("checking workers", 0, 1)
        require_same(client, Needs(known, files))
        progress("checking workers", 1, 1)
        tasks = [
            (partial(_on_worker, order, words), Needs(known, own))
            for order, own in hashed
            if isinstance(order, Order)
        ]
        with closing(run_tasks(client, tasks)) as found:
            for done, (order, _) in enumerate(hashed):
                progress("configurations", done, len(hashed))
                yield next(found) if isinstance(order, Order) else order
        progress("configurations", len(hashed), len(hashed))


def _hashed(
    order: Order | Released,
    words: Words,
    hashes_of: Callable[[Checkpoints], dict[str, str]],
) -> tuple[Order | Released, dict[str, str]]:
    """Return an order with the hashes of its checkpoints, which are to be seen elsewhere."""
    if not isinstance(order, Order) or order.config.checkpoint.path is None:
        return order, {}
    given = order.config.checkpoint
    try:
        found = Checkpoints(order.config.checkpoint.path, given.overlays, codec=given.codec)
        return order, hashes_of(found)
    except InputError as error:
        return Released(order.name, *words(error), model=order.config.model), {}


_one_at_a_time = threading.Lock()  # of this worker: a release takes threads and memory


def _on_worker(
    order: Order, words: Words, worker: str, stopped: Callable[[], bool]
) -> Released:
    """Release one configuration on a worker."""
    looked = time.monotonic()

    def look(_what: str, _done: int, _total: int) -> None:
        nonlocal looked
        if time.monotonic() - looked > _LOOK_S:
            looked = time.monotonic()
            if stopped():
                raise Interrupted

    with _one_at_a_time:
        try:
            return replace(release_one(order, words, look), worker=worker)
        except Interrupted:  # of which nobody is told any more
            return Released(order.name, EXIT_CODE, INTERRUPTED)
