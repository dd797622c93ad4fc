"""A cluster of dask.distributed: connected to, its workers held to what this process has."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from distributed import CancelledError, Client, Future, KilledWorker, get_worker
from distributed.comm.addressing import get_address_host_port

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, said

from .needs import Lack, Needs, lacking

T = TypeVar("T")

_CONNECT_S = 10  # till a scheduler that does not answer is taken for none
_ALONE_S = 60  # till workers that are all gone are taken for gone: one that died comes again
_LOOK_S = 1
_NAMED = 3  # differences of a worker

_SCHEDULER = "start one with: dask scheduler"
_WORKER = "start some with: dask worker {address} --nthreads 1"


@dataclass(frozen=True)
class Unfit:
    """What a task gives on a worker that may not run it."""

    worker: str
    lack: Lack


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Give a client of a scheduler that has workers.

    Raises:
        InputError: that is no address.
        EnvironmentLacksError: no scheduler answers there, or it has no workers.
    """
    log, level = logging.getLogger("distributed"), logging.getLogger("distributed").level
    log.setLevel(logging.CRITICAL)  # what goes wrong is said once, by us
    try:
        client = _client(address)
        try:
            if not _has_workers(client):
                raise EnvironmentLacksError(
                    f"the scheduler at {address} has no workers;"
                    f" {_WORKER.format(address=address)}"
                )
            yield client
        finally:
            client.close()
    finally:
        log.setLevel(level)


def _client(address: str) -> Client:
    try:
        get_address_host_port(address)  # refused before a client begins to look there
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions: they are compared by ourselves
            return Client(address, timeout=_CONNECT_S, set_as_default=False)
    except ValueError as error:
        raise InputError(
            f"--scheduler {address}: no address of a scheduler, which reads"
            f" tcp://HOST:PORT ({said(error)})"
        ) from error
    except OSError as error:
        raise EnvironmentLacksError(
            f"no scheduler answers at {address}; {_SCHEDULER}"
        ) from error


def require_same(client: Client, needs: Needs) -> None:
    """Refuse workers that have other packages or other files than this process.

    Raises:
        EnvironmentLacksError: it names the worker, what differs and the way out.
    """
    found = client.run(lacking, needs, on_error="return")
    names = {at: w["name"] for at, w in client.scheduler_info(n_workers=-1)["workers"].items()}
    for address, lack in found.items():
        if isinstance(lack, Exception):
            # Whatever it is that fails there, it works here.
            lack = Lack((f"its vampnet-onnx is another ({said(lack)})",), ())
        if lack:
            raise _refusal(Unfit(_named(address, names.get(address, address)), lack))


def this_worker() -> str:
    """Return the name of the worker that runs this."""
    worker = get_worker()
    return _named(worker.address, worker.name)


def result_of(client: Client, future: "Future[T | Unfit]") -> T:
    """Wait for what a task gives.

    Raises:
        EnvironmentLacksError: its worker was unfit, its workers were killed again and again,
            all of them are gone, or the scheduler is.
    """
    alone_since: float | None = None
    while True:
        try:
            found = future.result(timeout=_LOOK_S)
            break
        except (KilledWorker, CancelledError, OSError) as error:  # a timeout is one of these
            own = future.exception() if future.status == "error" else None
            if isinstance(own, KilledWorker):
                raise EnvironmentLacksError(
                    f"{own.allowed_failures + 1} workers were killed one after the other by"
                    " the same task, perhaps for want of memory; give workers more with"
                    " --memory-limit, or start fewer on a machine"
                ) from own
            if own is not None:
                raise own from error
            if not isinstance(error, TimeoutError):
                raise _gone(client) from error
        alone_since = None if _has_workers(client) else alone_since or time.monotonic()
        if alone_since is not None and time.monotonic() - alone_since > _ALONE_S:
            raise EnvironmentLacksError(
                f"the scheduler at {_address(client)} has no workers any more;"
                f" {_WORKER.format(address=_address(client))}, and run again"
            )
    if isinstance(found, Unfit):
        raise _refusal(found)
    return found


def _has_workers(client: Client) -> bool:
    try:
        return bool(client.nthreads())
    except OSError as error:
        raise _gone(client) from error


def _gone(client: Client) -> EnvironmentLacksError:
    return EnvironmentLacksError(
        f"the scheduler at {_address(client)} went away; {_SCHEDULER}, and run again"
    )


def _refusal(found: Unfit) -> EnvironmentLacksError:
    """Return the refusal of a worker."""
    lack = found.lack
    differs = [*lack.packages, *lack.files]
    more = f"; and {len(differs) - _NAMED} more" if len(differs) > _NAMED else ""
    way = (
        "start it in an environment with the same packages"
        if lack.packages
        else "let it see the same files at the same paths, as on a shared file system"
    )
    return EnvironmentLacksError(
        f"the worker {found.worker} would not compute the same:"
        f" {'; '.join(differs[:_NAMED])}{more}; {way}, or stop it"
    )


def _named(address: str, name: object) -> str:
    """Return what a worker is called in a message."""
    return address if str(name) == address else f"{name} at {address}"


def _address(client: Client) -> Any:
    return client.scheduler.address if client.scheduler is not None else "that address"
