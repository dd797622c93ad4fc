"""The walk as a library: any PyTorch module beside an ONNX file that carries module paths.

What is taken as right is the module itself on the given inputs; what happened at a culprit is
told by comparing the file with a fresh export of the module.
"""

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export.graph import MODULE_KEY, module_of
from vampnet_onnx.export.with_paths import (
    call_of,
    graph_with_paths,
    require_ready,
    traced,
)

from .changes import Change, graph_changes, what_happened
from .culprit import LoneModule, ModuleFinding
from .graph import GraphModules
from .nonfinite import Birth, find_birth
from .torch_source import TorchSource, arrays_of
from .walk import localise as walk


@dataclass(frozen=True)
class ModuleWalk:
    """What a walk of a module and its file found.

    Attributes:
        findings: modules in the order in which the reference runs them.
        culprits: paths of the modules that introduce an error, the first one first; the empty
            path is the module itself, outside of any other.
        what: what is different in the file at the first culprit, in words; empty without one.
        birth: where non-finite values come from, if there are any.
        cut_out: the first culprit by itself, with the reference's inputs.
    """

    file: Path
    findings: tuple[ModuleFinding, ...]
    culprits: tuple[str, ...]
    what: str
    birth: Birth
    cut_out: LoneModule | None

    def __repr__(self) -> str:
        if not self.culprits:
            return f"<ModuleWalk of {self.file.name}: no module introduces an error>"
        named = ", ".join(path or "the module itself" for path in self.culprits)
        return f"<ModuleWalk of {self.file.name}: {named} ({self.what})>"

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row a module, in the order in which the reference runs them."""
        return [
            {**dataclasses.asdict(finding), "culprit": finding.path in self.culprits}
            for finding in self.findings
        ]


def localise(module: nn.Module, onnx_file: str | Path, inputs: Any) -> ModuleWalk:
    """Name the modules in which an ONNX file departs from the PyTorch module it was made of.

    Args:
        module: in evaluation mode, on the CPU; it is left as it is.
        onnx_file: whose nodes carry module paths: written by `export_with_paths`, by
            ``torch.onnx.export(dynamo=True)``, or by this project's own export.
        inputs: what both run on: a tensor or an array, a tuple of them in the order of
            ``forward``'s arguments, or a dict by their names.

    Raises:
        InputError: the file has no module paths, the inputs do not fit, or the module is in
            training mode.
    """
    path = Path(onnx_file)
    require_ready(module)
    graph = GraphModules(path)
    args, kwargs = call_of(inputs)
    arguments = _bound(module, args, kwargs)
    arrays = _by_graph_input(path, graph, arguments)
    fresh = _FreshExport(module, arguments, graph)
    source = TorchSource(
        module, arrays, lambda: fresh.paths, call=lambda m: m(*args, **kwargs), folds=True
    )
    with _plain_forward():
        found = walk(source, graph)
        birth = find_birth(source, graph)
        what = what_happened(fresh.changes, found.culprits[0]) if found.culprits else ""
    return ModuleWalk(path, found.findings, found.culprits, what, birth, found.cut_out)


class _FreshExport:
    """What torch's exporter makes of the module now, the way the file was made."""

    def __init__(
        self, module: nn.Module, arguments: Mapping[str, Any], graph: GraphModules
    ) -> None:
        self._module, self._arguments, self._graph = module, arguments, graph

    @property
    def paths(self) -> frozenset[str]:
        """Paths that a sound file has."""
        return self._nearest[0]

    @property
    def changes(self) -> tuple[Change, ...]:
        """In what the file departs from it."""
        return self._nearest[1]

    @cached_property
    def _nearest(self) -> tuple[frozenset[str], tuple[Change, ...]]:
        """Of the ways the file may have been made, take the one it departs least from."""
        found = [
            (_paths(made), graph_changes(made, self._graph.model)) for made in self._made()
        ]
        return min(found, key=lambda item: len(item[1]))

    def _made(self) -> list[ir.Model]:
        options: dict[str, Any] = {
            "opset": self._graph.model.opset_imports[""],
            "dynamic_shapes": self._free_axes(),
        }
        module, arguments = self._module, dict(self._arguments)
        if any(MODULE_KEY in node.metadata_props for node in self._graph.model.graph):
            return [graph_with_paths(module, arguments, **options)]
        return [traced(module, arguments, optimize=way, **options) for way in (True, False)]

    def _free_axes(self) -> Any:
        """Return the axes that the file leaves free, for arguments that are tensors."""
        values = {str(value.name): value for value in self._graph.model.graph.inputs}
        return {
            name: {
                axis: torch.export.Dim.AUTO
                for axis, extent in enumerate(values[name].shape or ())
                if not isinstance(extent, int)
            }
            if isinstance(argument, Tensor) and name in values
            else None
            for name, argument in self._arguments.items()
        }


def _paths(model: ir.Model) -> frozenset[str]:
    inside = {module_of(node) or "" for node in model.graph}
    parts = [path.split(".") for path in inside]
    return frozenset(".".join(part[:n]) for part in parts for n in range(len(part) + 1))


def _bound(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return arguments by the names of ``forward``'s parameters, in their order.

    Raises:
        InputError: they do not fit.
    """
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise InputError(
            f"inputs do not fit {type(module).__name__}.forward{signature}: {error}"
        ) from error
    flat: dict[str, Any] = {}
    for name, value in bound.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            flat |= {f"{name}_{i}": item for i, item in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            flat |= value
        else:
            flat[name] = value
    return flat


def _by_graph_input(
    path: Path, graph: GraphModules, arguments: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Return arrays by the graph's inputs: as the arguments are named, else in their order.

    Raises:
        InputError: they are not as many, or of another type or shape than the file takes.
    """
    names = graph.input_names
    arrays = list(arrays_of(arguments))
    named = {name: value for name, value in arguments.items() if isinstance(value, Tensor)}
    if set(names) == set(named):
        arrays = [named[name].numpy() for name in names]
    if len(arrays) != len(names):
        raise InputError(
            f"{path}: takes {len(names)} tensors ({', '.join(names)}); the inputs hold"
            f" {len(arrays)}"
        )
    values = {str(value.name): value for value in graph.model.graph.inputs}
    for name, array in zip(names, arrays, strict=True):
        _require_fits(path, values[name], array)
    return dict(zip(names, arrays, strict=True))


def _require_fits(path: Path, value: ir.Value, array: np.ndarray) -> None:
    dtype = None if value.dtype is None else value.dtype.numpy()
    extents = None if value.shape is None else list(value.shape)
    fits = dtype is None or dtype == array.dtype
    if extents is not None:
        fits &= len(extents) == array.ndim and all(
            not isinstance(extent, int) or extent == given
            for extent, given in zip(extents, array.shape, strict=True)
        )
    if not fits:
        wanted = f"{dtype}{[str(e) if not isinstance(e, int) else e for e in extents or []]}"
        raise InputError(
            f"{path}: takes {value.name} as {wanted}; given {array.dtype}{list(array.shape)}"
        )


@contextlib.contextmanager
def _plain_forward() -> Iterator[None]:
    """Have PyTorch's attention call its parts one by one, as the exporter traces it.

    In evaluation its encoder layers else run as one fused operator, their parts unseen.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
