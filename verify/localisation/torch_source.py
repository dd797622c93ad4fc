"""PyTorch as the side of a walk that is taken as right: watched as it runs, or recorded.

How far a float32 result is from the float64 one is the reference's own rounding.  Casting a
model of released size outright takes twice its memory again, so the float64 twin of a module
never holds all its weights twice: large ones are widened only while the module that owns them
runs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from vampnet_onnx.export.passes.sharing import sharing_copy
from vampnet_onnx.verify.numbers.metrics import relative_l2

from .source import ROOT, ModuleIO, Source, Trace, Visit, stages_of

Parts = Mapping[str, tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]
"""What went into modules and came out of them, by path."""

# Containers that are never called themselves.
_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterDict, nn.ParameterList)

# Weights below this are widened at once: tables and norms are read by other modules than the
# one that owns them, and they are small at any size.  Those above are linear and convolutional
# weights, which only their own forward reads.
_AT_ONCE_BYTES = 1 << 20


class TorchSource(Source):
    """A module of PyTorch on one input, watched as it runs."""

    def __init__(
        self,
        module: nn.Module,
        inputs: Mapping[str, np.ndarray],
        find_expected: Callable[[], frozenset[str]],
        *,
        call: Callable[[nn.Module], object] | None = None,
        folds: bool = False,
    ) -> None:
        """Take a module.

        Args:
            module: in float32, without hooks.
            inputs: its arrays, in the order of its arguments.
            find_expected: finds the modules that a sound export has.
            call: calls it, where its arguments are more than these arrays in their order.
            folds: as of `Source`.
        """
        self.inputs = inputs
        self.folds = folds
        self._call = call or self._in_order
        self._find_expected = find_expected
        self._module = module
        self.stages = stages_of(
            {
                path: sum(p.nbytes for p in part.parameters())
                for path, part in module.named_modules()
                if not isinstance(part, _NEVER_CALLED)
            }
        )

    def expected(self) -> frozenset[str]:
        """Find the modules that a sound export has."""
        return self._find_expected()

    def stream(self, visit: Visit) -> None:
        """Run the module, watching every part of it.

        What goes in and out is copied: a later part may change it in place.
        """
        trace, seen = Trace(), set[str]()
        taken: dict[str, tuple[Any, Any]] = {}

        def hand_over() -> None:
            if trace:
                visit(dict(trace))
                trace.clear()

        def take(path: str, _watched: nn.Module, args: Any, kwargs: Any) -> None:
            if path not in seen:
                taken[path] = pytree.tree_map(_copied, (args, kwargs))

        def keep(
            path: str, _watched: nn.Module, _args: Any, _kwargs: Any, output: object
        ) -> None:
            if path in seen:
                trace.pop(path, None)
            else:
                seen.add(path)
                args, kwargs = taken.pop(path)
                part = self._module.get_submodule(path)
                given = tuple(arrays_of((args, kwargs)))
                made = tuple(array.copy() for array in arrays_of(output))
                measure = partial(own_rounding, part, args, kwargs)
                trace[path] = ModuleIO(given, made, measure, args, kwargs)
            if path in self.stages:
                hand_over()

        watched = sharing_copy(self._module)
        for path, part in watched.named_modules():
            part.register_forward_pre_hook(partial(take, path), with_kwargs=True)
            part.register_forward_hook(partial(keep, path), with_kwargs=True)
        with torch.inference_mode():
            self._call(watched)
            hand_over()

    def _in_order(self, module: nn.Module) -> object:
        return module(*(torch.from_numpy(array) for array in self.inputs.values()))


class RecordedSource(Source):
    """The recorded parts of one case.

    A set records what stands between the parts of a network (`verify.subjects`), such as the
    output of every transformer layer.  A walk over these tells after which part an export
    departs from what was recorded; what nothing was recorded of belongs to the next part that
    something was.
    """

    def __init__(
        self,
        parts: Parts,
        inputs: Mapping[str, np.ndarray],
        outputs: Mapping[str, np.ndarray],
        module: nn.Module,
    ) -> None:
        """Take a recorded case.

        Args:
            inputs: recorded, by the names of the graph's inputs.
            outputs: recorded, by the names of the graph's outputs.
            module: our entry module of the set's checkpoint; it runs in float64 only, where
                the recorded rounding has to be estimated.
        """
        self.inputs = inputs
        self.stages = [ROOT]
        self._module = module
        self._parts = {**parts, ROOT: (tuple(inputs.values()), tuple(outputs.values()))}

    def stream(self, visit: Visit) -> None:
        """Hand over all parts at once."""
        visit(
            {
                path: ModuleIO(*arrays, partial(self._rounding, path))
                for path, arrays in self._parts.items()
            }
        )

    def _rounding(self, path: str) -> float:
        """Return how far recorded float32 outputs are from float64 ones."""
        # A module may return more than was recorded of it.
        _, recorded = self._parts[path]
        return largest_rounding(zip(self._exact.get(path, ()), recorded, strict=False))

    @cached_property
    def _exact(self) -> dict[str, list[np.ndarray]]:
        twin, found = float64_twin(self._module), dict[str, list[np.ndarray]]()

        def keep(path: str, _module: nn.Module, _inputs: object, output: object) -> None:
            found[path] = list(arrays_of(output))

        for path in self._parts:
            twin.get_submodule(path).register_forward_hook(partial(keep, path))
        arrays = [torch.from_numpy(array) for array in self.inputs.values()]
        with torch.inference_mode():
            twin(*(a.double() if a.is_floating_point() else a for a in arrays))
        return found


def float64_twin(module: nn.Module, held: dict[int, nn.Parameter] | None = None) -> nn.Module:
    """Return a copy that computes in float64; the module itself is left as it is.

    Args:
        module: without hooks; its weights are shared, not copied.
        held: keeps large weights once they are widened, until the caller empties it; without
            it they are let go after every call.
    """
    twin = sharing_copy(module)
    # Attention of PyTorch reads its projections' weights itself.
    attention = [part for part in twin.modules() if isinstance(part, nn.MultiheadAttention)]
    read = {inner for part in attention for inner in part.modules()}
    for part in twin.modules():
        own = dict(part.named_parameters(recurse=False))
        if part not in read and sum(p.nbytes for p in own.values()) > _AT_ONCE_BYTES:
            part.register_forward_pre_hook(
                lambda part, _inputs, own=own: _widen(part, own, held)
            )
            part.register_forward_hook(
                lambda part, _inputs, _output, own=own: _give_back(part, own),
                always_call=True,
            )
        else:
            _widen(part, own)
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_floating_point():
                part.register_buffer(name, buffer.double())
    return twin


def own_rounding(
    module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any] = {}
) -> float:
    """Return how far a module's float32 outputs are from its float64 ones on one input.

    Args:
        module: without hooks.
        arguments: what it is called with; float tensors are widened.
        named: arguments by name.

    Returns:
        Relative L2; 0 of a module that does not run in float64.
    """
    # Either may change what it is given.
    own_args, own_named = pytree.tree_map(_copied, (arguments, dict(named)))
    wide_args, wide_named = pytree.tree_map(_widened, (arguments, dict(named)))
    with torch.inference_mode():
        try:
            exact = float64_twin(module)(*wide_args, **wide_named)
        except RuntimeError:
            return 0.0  # makes float32 tensors of its own: nothing is put down to rounding
        own = module(*own_args, **own_named)
    return largest_rounding(zip(arrays_of(exact), arrays_of(own), strict=True))


def largest_rounding(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the largest relative L2 of float arrays from their float64 ones.

    Infinities and NaN count as no rounding.
    """
    errors = [
        relative_l2(exact, own)
        for exact, own in pairs
        if own.dtype.kind == "f" and own.shape == exact.shape
    ]
    return max((error for error in errors if np.isfinite(error)), default=0.0)


def arrays_of(value: object) -> Iterator[np.ndarray]:
    """Yield the tensors in what a module takes or gives, as arrays."""
    if isinstance(value, Tensor):
        yield value.detach().numpy()
    elif isinstance(value, Mapping):
        yield from arrays_of(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for item in value:
            yield from arrays_of(item)


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value.clone()
    return value


def _widen(
    part: nn.Module, own: Mapping[str, Tensor], held: dict[int, nn.Parameter] | None = None
) -> None:
    for name, tensor in own.items():
        wide = None if held is None else held.get(id(tensor))
        if wide is None:
            wide = nn.Parameter(tensor.double(), requires_grad=False)
            if held is not None:
                held[id(tensor)] = wide
        part.register_parameter(name, wide)


def _give_back(part: nn.Module, own: Mapping[str, nn.Parameter]) -> None:
    for name, parameter in own.items():
        part.register_parameter(name, parameter)
