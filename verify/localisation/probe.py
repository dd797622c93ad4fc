"""Every module of a file by itself, on the reference's own inputs, held to its own rounding.

A walk (`verify.localisation.walk`) looks for the module behind an error and stops where
outputs are right.  This looks at all of them: a small mistake can hide behind what follows it.
Each module is compared with the float64 reference on the same inputs, value by value; it may
be as far off as a multiple of what float32 costs the reference itself.  Modules with nothing
inside run again on inputs scaled down, where an epsilon or a small bias is no longer lost in
what is added to it, and on whatever inputs are made to reach all of their rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from .culprit import forms_of, reference_feeds
from .graph import GraphModules, Run, is_below, is_within
from .partial_run import run_in_stages
from .source import ModuleIO, Trace
from .torch_source import TorchSource, arrays_of, float64_twin

SCALED = "scaled down"
EVERY_ROW = "every row"


@dataclass(frozen=True)
class Allowance:
    """How far a module may be from the float64 reference.

    Attributes:
        factor: multiple of the reference's own float32 rounding on the same inputs.
        floor: share of the largest value, where that rounding happens to be less.
        scale: what inputs are scaled by, to see what larger ones hide.
    """

    factor: float
    floor: float
    scale: float


@dataclass(frozen=True)
class Probed:
    """One module on one input.

    Attributes:
        path: of the module.
        how: which input: empty for the reference's own.
        error: largest error over what is allowed; infinite for NaN, a wrong index, and what
            does not run.
    """

    path: str
    how: str
    error: float

    def __str__(self) -> str:
        """Name the module and the input."""
        return f"{self.path or '(the whole)'}{f' ({self.how})' if self.how else ''}"


def probe(
    module: nn.Module,
    graph: GraphModules,
    inputs: Mapping[str, np.ndarray],
    allowance: Allowance,
    covering: Mapping[str, Sequence[Tensor | int]] = {},
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[Probed, ...]:
    """Run every module that both sides have by itself.

    Modules with more weights than fit a stage are left to those inside them.

    Args:
        module: the reference, in float32, without hooks.
        graph: the file by its modules.
        inputs: of the whole, by the names of the graph's inputs, in the order of arguments.
        covering: arguments by module path that reach what the others do not, such as every
            row of a table.
        progress: told how many modules are done, and how many there are.
    """
    source = TorchSource(module, inputs, frozenset)
    probing = _Probing(source, module, graph, allowance, covering, progress)
    source.stream(probing.visit)
    return tuple(probing.found)


class _Probing:
    """Looks at the modules of a stage at a time; what it computed is let go with it."""

    def __init__(
        self,
        source: TorchSource,
        module: nn.Module,
        graph: GraphModules,
        allowance: Allowance,
        covering: Mapping[str, Sequence[Tensor | int]],
        progress: Callable[[int, int], None],
    ) -> None:
        self.found: list[Probed] = []
        self._source, self._module, self._graph = source, module, graph
        self._held: dict[int, nn.Parameter] = {}
        self._twin = float64_twin(module, self._held)
        self._allowed, self._covering = allowance, covering
        self._run = run_in_stages(graph, source.inputs, source.stages)
        self._progress, self._done = progress, 0
        self._total = sum(path in graph.borders for path, _ in module.named_modules())

    def visit(self, trace: Trace) -> None:
        """Look at the modules that finished; their weights are widened once."""
        self._held.clear()
        known = [path for path in trace if path in self._graph.borders]
        values = self._run.reach(self._graph.border_values(known))
        for path in known:
            self._progress(self._done, self._total)
            self._done += 1
            # A call by name says nothing of the order of the arrays.
            if is_within(path, self._source.stages) and not trace[path].keywords:
                leaf = not any(is_below(other, path) for other in known)
                self.found += self._probed(path, trace, values, leaf)

    def _probed(
        self, path: str, trace: Trace, values: Mapping[str, np.ndarray], leaf: bool
    ) -> Iterator[Probed]:
        border, io = self._graph.borders[path], trace[path]
        if any(name not in values for name in (*border.inputs, *border.outputs)):
            yield Probed(path, "", float("inf"))  # the file does not get there
            return
        given, feeds = reference_feeds(self._graph, path, values, io.inputs)
        try:
            run = self._graph.opened(feeds, border.outputs)
            found = run(feeds)
            yield self._judged(path, "", io.arguments, io.outputs, found)
            floats = {n for n, array in feeds.items() if array.dtype.kind == "f"}
            if leaf and floats and floats <= given.keys():
                small = {n: self._small(a) if n in floats else a for n, a in feeds.items()}
                arguments = [self._small(a) if _is_float(a) else a for a in io.arguments]
                own, scaled = self._own(path, arguments), run(small)
                # What is linear only gives the same again.
                if not (self._same(io.outputs, own) and self._same(found, scaled)):
                    yield self._judged(path, SCALED, arguments, own, scaled)
            if path in self._covering:
                yield self._covered(path, io, feeds, run)
        except ort.capi.onnxruntime_pybind11_state.Fail:
            yield Probed(path, "", float("inf"))

    def _covered(
        self, path: str, io: ModuleIO, feeds: Mapping[str, np.ndarray], run: Run
    ) -> Probed:
        """Look at what reaches every row."""
        arguments = self._covering[path]
        laid_out = _laid_out(feeds, io.arguments, arguments)
        if not laid_out:
            return Probed(path, EVERY_ROW, float("inf"))  # the file takes nothing like it
        # What follows from them, such as their extents.
        others = [name for name in feeds if name not in laid_out]
        laid_out |= self._graph.run(laid_out, others) if others else {}
        own = self._own(path, arguments)
        return self._judged(path, EVERY_ROW, arguments, own, run(laid_out), exact=True)

    def _own(self, path: str, arguments: Sequence[Any]) -> list[np.ndarray]:
        """Return what the reference's module gives."""
        with torch.inference_mode():
            return list(arrays_of(self._module.get_submodule(path)(*arguments)))

    def _small(self, value: Any) -> Any:
        return value * np.float32(self._allowed.scale)

    def _same(self, whole: Sequence[np.ndarray], scaled: Sequence[np.ndarray]) -> bool:
        """Return whether outputs are scaled as the inputs were, bit for bit."""
        return all(
            a.dtype.kind == "f" and np.array_equal(self._small(a), b)
            for a, b in zip(whole, scaled, strict=True)
        )

    def _judged(
        self,
        path: str,
        how: str,
        arguments: Sequence[Any],
        own: Sequence[np.ndarray],
        found: Sequence[np.ndarray],
        *,
        exact: bool = False,
    ) -> Probed:
        """Compare what a module gives; integers count where inputs leave no doubt of them."""
        wide = [a.double() if _is_float(a) else a for a in arguments]
        with torch.inference_mode():
            true = list(arrays_of(self._twin.get_submodule(path)(*wide)))
        whole = [(r, e) for r, e in zip(own, true, strict=True) if e.dtype.kind != "f"]
        alike = all(_nearest(e, found) in (0.0, None) for _, e in whole)
        if not alike:
            # Whether another index is a tie is for the cases to say, unless none is near.
            doubt = not exact or any(not np.array_equal(r, e) for r, e in whole)
            return Probed(path, how, 0.0 if doubt else float("inf"))
        errors = [0.0]
        for reference, exactly in zip(own, true, strict=True):
            if exactly.dtype.kind != "f":
                continue
            off = _nearest(exactly, found)
            if off is None:
                continue  # the file has no such value: it belongs to a neighbour there
            rounding = float(np.abs(reference - exactly).max(initial=0.0))
            largest = float(np.abs(exactly).max(initial=0.0))
            allowed = self._allowed.factor * rounding + self._allowed.floor * largest
            errors.append(off / allowed if allowed else 0.0 if not off else float("inf"))
        return Probed(path, how, max(float("inf") if e != e else e for e in errors))


def _nearest(exact: np.ndarray, found: Sequence[np.ndarray]) -> float | None:
    """Return the largest error of the value that is most like an array; None without one."""
    errors = [
        float(np.abs(value - form).max(initial=0.0))
        for value in found
        if value.dtype.kind == exact.dtype.kind
        for form in forms_of(exact, value.shape)
    ]
    return min((float("inf") if e != e else e for e in errors), default=None)


def _laid_out(
    feeds: Mapping[str, np.ndarray], given: Sequence[Any], arguments: Sequence[Any]
) -> dict[str, np.ndarray]:
    """Lay other arguments out as the graph takes them, which what it was fed shows."""
    found = {}
    for name, fed in feeds.items():
        for array, other in zip(
            map(np.asarray, given), map(np.asarray, arguments), strict=True
        ):
            for form in _FORMS if array.ndim > 1 else _FORMS[:1]:
                if name not in found and np.array_equal(form(array), fed):
                    found[name] = form(other)
    return found


def _turned(array: np.ndarray) -> np.ndarray:
    return np.swapaxes(array, -1, -2)


# As of `forms_of`.
_FORMS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: x,
    lambda x: x[None],
    lambda x: x[:, None],
    _turned,
    lambda x: _turned(x)[None],
)


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
