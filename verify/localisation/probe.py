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

from vampnet_onnx.export.onnx_file import graph_bytes

from .culprit import forms_of, reference_feeds
from .graph import GraphModules, is_below, is_within
from .partial_run import run_in_stages
from .source import Trace
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
    covering: Mapping[str, Sequence[Tensor]] = {},
) -> tuple[Probed, ...]:
    """Run every module that both sides have by itself.

    Modules with more weights than fit a stage are left to those inside them.

    Args:
        module: the reference, in float32, without hooks.
        graph: the file by its modules.
        inputs: of the whole, by the names of the graph's inputs, in the order of arguments.
        covering: arguments by module path that reach what the others do not, such as every
            row of a table.
    """
    source = TorchSource(module, inputs, frozenset)
    probing = _Probing(source, module, graph, allowance, covering)
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
        covering: Mapping[str, Sequence[Tensor]],
    ) -> None:
        self.found: list[Probed] = []
        self._source, self._module, self._graph = source, module, graph
        self._twin = float64_twin(module)
        self._allowed, self._covering = allowance, covering
        self._run = run_in_stages(graph, source.inputs, source.stages)

    def visit(self, trace: Trace) -> None:
        """Look at the modules that finished."""
        known = [path for path in trace if path in self._graph.borders]
        values = self._run.reach(self._graph.border_values(known))
        for path in known:
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
            run = _opened(self._graph, feeds, border.outputs)
            yield self._judged(path, "", io.arguments, run(feeds))
            floats = {n for n, array in feeds.items() if array.dtype.kind == "f"}
            if leaf and floats and floats <= given.keys():
                small = {
                    n: array * np.float32(self._allowed.scale) if n in floats else array
                    for n, array in feeds.items()
                }
                scaled = [_scaled(a, self._allowed.scale) for a in io.arguments]
                yield self._judged(path, SCALED, scaled, run(small))
            if path in self._covering:
                arguments = self._covering[path]
                laid_out = _laid_out(feeds, io.inputs, arguments)
                # What follows from them, such as their extents.
                others = [name for name in feeds if name not in laid_out]
                laid_out |= self._graph.run(laid_out, others) if others else {}
                yield self._judged(path, EVERY_ROW, arguments, run(laid_out), exact=True)
        except ort.capi.onnxruntime_pybind11_state.Fail:
            yield Probed(path, "", float("inf"))

    def _judged(
        self,
        path: str,
        how: str,
        arguments: Sequence[Any],
        found: Sequence[np.ndarray],
        *,
        exact: bool = False,
    ) -> Probed:
        """Compare what a module gives; integers count where inputs leave no doubt of them."""
        wide = [a.double() if _is_float(a) else a for a in arguments]
        with torch.inference_mode():
            own = list(arrays_of(self._module.get_submodule(path)(*arguments)))
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


def _opened(
    graph: GraphModules, feeds: Mapping[str, np.ndarray], wanted: Sequence[str]
) -> Any:
    """Return what runs a part of a graph on arrays by name, again and again."""
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(
        graph_bytes(graph.part(feeds, wanted)), options, providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_inputs()]

    def run(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return list(session.run(list(wanted), {name: arrays[name] for name in names}))

    return run


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
    feeds: Mapping[str, np.ndarray], inputs: Sequence[np.ndarray], arguments: Sequence[Tensor]
) -> dict[str, np.ndarray]:
    """Lay other arguments out as the graph takes them, which what it was fed shows."""
    found = {}
    for name, fed in feeds.items():
        for array, other in zip(inputs, arguments, strict=True):
            for form in _FORMS if array.ndim > 1 else _FORMS[:1]:
                if name not in found and np.array_equal(form(array), fed):
                    found[name] = form(other.numpy())
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


def _scaled(value: Any, scale: float) -> Any:
    return value * np.float32(scale).item() if _is_float(value) else value
