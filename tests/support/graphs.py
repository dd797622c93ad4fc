"""Graphs that a run of the tests makes: once, whichever worker needs them first."""

from __future__ import annotations

from vampnet_onnx.export.graph_cache import GraphCache
from vampnet_onnx.export.trace import GraphRequest, OpenGraph


class GraphsOfThisRun(dict[GraphRequest, OpenGraph]):
    """What a process has made, with what the other workers of the run have.

    Args:
        cache: a folder of this run, which began empty.
    """

    def __init__(self, cache: GraphCache) -> None:
        super().__init__()
        self._cache = cache

    def __contains__(self, request: object) -> bool:
        assert isinstance(request, GraphRequest)
        if not super().__contains__(request):
            graph = self._cache.get(request)
            if graph is not None:
                super().__setitem__(request, graph)
        return super().__contains__(request)

    def __setitem__(self, request: GraphRequest, graph: OpenGraph) -> None:
        super().__setitem__(request, graph)
        self._cache.keep(request, graph)
