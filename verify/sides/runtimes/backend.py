"""The interface of the execution matrix, and the table of what is behind it.

A `Backend` is a way to run files.  It is started once a run of the matrix and then opens one
graph after the other, each of which computes arrays from arrays, by name.  Every module of
this room is asked for its `BACKENDS`, so another runtime is one file here.  One that runs in
another process needs a worker and nothing else: see `verify.sides.runtimes.process`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from vampnet_onnx.configs.errors import InputError, nearest, said
from vampnet_onnx.pipeline.version.session import Opened, describe

Compute = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Computes every output of a graph, by name."""


@dataclass(frozen=True)
class Running:
    """A backend at work.

    Attributes:
        what: it is, in words, with its version.
        version: alone.
        open: loads a graph.  It, and the graph when it runs, raise InputError with the
            runtime's own words where they fail.
    """

    what: str
    version: str
    open: Callable[[Path], Opened]


class Backend(Protocol):
    """A way to run files."""

    @property
    def name(self) -> str:
        """What ``--runtimes`` calls it."""

    def lacks(self) -> str:
        """Say what is missing here, with the line that installs it; empty if nothing is.

        Raises:
            InputError: a person named a place for it that cannot be one.
        """

    def start(self, threads: int) -> AbstractContextManager[Running]:
        """Get ready to open graphs.

        Args:
            threads: for one operator; 0 leaves the choice to the runtime.
        """


@dataclass
class GraphElsewhere:
    """A graph on some other runtime: an `Opened`, with what its file says of itself."""

    path: Path
    compute: Compute
    runtime: str
    adapter: Path | None = None
    placement: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        described = describe(self.path)
        self.inputs, self.outputs = described.inputs, described.outputs
        self.metadata = described.metadata

    def use_adapter(self, path: Path | None) -> None:
        """Refuse any adapter.

        Raises:
            InputError: one was asked for.
        """
        if path is not None:
            raise InputError(f"{path}: {self.runtime} switches no adapters")

    def run(
        self, inputs: Mapping[str, np.ndarray], *, only: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Compute every output, and return those of `only` if it names some.

        Raises:
            InputError: the graph does not run on them.
        """
        try:
            found = self.compute(inputs)
        except InputError:
            raise
        except Exception as error:  # runtimes' errors share no other base
            raise InputError(f"{self.path.name}: does not run: {said(error)}") from error
        return {name: found[name] for name in (found if only is None else only)}


def all_backends() -> dict[str, Backend]:
    """Return every backend by its name."""
    return {backend.name: backend for backend in _found()}


def chosen_backends(names: Sequence[str]) -> list[Backend]:
    """Return the backends of these names, in this order.

    Raises:
        InputError: there is no such backend, or one is named twice.
    """
    known = all_backends()
    for name in names:
        if name not in known:
            raise InputError(
                f"--runtimes: there is no {name!r}{nearest(name, list(known))}; known are"
                f" {', '.join(known)}"
            )
        if names.count(name) > 1:
            raise InputError(f"--runtimes: {name} is there {names.count(name)} times")
    return [known[name] for name in names]


def _found() -> Iterator[Backend]:
    room = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(import_module(room).__path__, f"{room}."):
        if module.name != __name__:
            yield from getattr(import_module(module.name), "BACKENDS", ())
