"""Where an export has its graphs from: kept ones, or made now, several at once."""

from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Self

from .graph_cache import GraphCache
from .processes import GraphMakers, processes_for
from .trace import GraphRequest, OpenGraph, graph_of


class Graphs:
    """The graphs of one export; used in a ``with``, which ends what is still at work.

    Args:
        requests: what will be asked for, in that order.
        cache: where graphs are kept; None keeps none and uses none.
        jobs: processes that make graphs at once; as many as cores and memory allow if None,
            and with one they are made here.

    Attributes:
        made_now: those asked for that no earlier run made.
        kept: those that one did.
    """

    def __init__(
        self,
        requests: Iterable[GraphRequest],
        *,
        cache: GraphCache | None = None,
        jobs: int | None = None,
    ) -> None:
        self._cache = cache
        asked = dict.fromkeys(requests)  # several components may need the same
        found = {} if cache is None else {request: cache.get(request) for request in asked}
        self._kept = {request: graph for request, graph in found.items() if graph is not None}
        self.kept = list(self._kept)
        self.made_now = [request for request in asked if request not in self._kept]
        count = len(self.made_now)
        self._jobs = min(count, jobs) if jobs is not None else processes_for(count)
        self._stack = ExitStack()
        self._making: dict[GraphRequest, Future[OpenGraph]] = {}

    def __enter__(self) -> Self:
        """Begin with those that must be made."""
        if self._jobs > 1:
            makers = GraphMakers(self.made_now, self._jobs)
            self._making = self._stack.enter_context(makers).making
        return self

    def __exit__(self, *error: object) -> None:
        """End the processes."""
        self._stack.close()

    def of(self, request: GraphRequest) -> OpenGraph:
        """Return a graph, as soon as it is made.

        Raises:
            PassError: a pass did not hold what it promises.
            EnvironmentLacksError: a process was killed.
        """
        if request in self._kept:
            return self._kept[request]
        making = self._making.get(request)
        graph = graph_of(request) if making is None else making.result()
        if self._cache is not None:
            self._cache.keep(request, graph)
        self._kept[request] = graph  # another form of the component asks for it again
        return graph
