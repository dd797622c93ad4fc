"""Any PyTorch module to an ONNX file whose nodes say which module they came from.

Nothing here knows VampNet.  The graph is what torch's exporter makes of the module, without
its optimiser: that moves nodes from one module to another, and merges what is equal.
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import replacing

from .graph import CanonicalNames, KeepModulePaths
from .onnx_file import ONE_FILE_BYTES, save_whole
from .passes.base import apply_passes
from .quiet import quiet

_OPSET = 20


def export_with_paths(
    module: nn.Module,
    inputs: Any,
    path: str | Path,
    *,
    opset: int = _OPSET,
    dynamic_shapes: Any = None,
) -> Path:
    """Export a module so that `localise` can name its parts.

    Args:
        module: in evaluation mode, on the CPU.
        inputs: example to trace with: a tensor or an array, a tuple of them in the order of
            ``forward``'s arguments, or a dict by their names.
        path: of the file; it takes the place of one that is there.
        opset: of the default domain.
        dynamic_shapes: which axes are free, as `torch.onnx.export` takes it; none if left out.

    Returns:
        The path.

    Raises:
        InputError: the module is being trained, or its weights are too large for one file.
    """
    made = graph_with_paths(module, inputs, opset=opset, dynamic_shapes=dynamic_shapes)
    weights = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    if weights > ONE_FILE_BYTES:
        raise InputError(
            f"{path}: {weights / 1e9:.1f} GB of weights do not fit in one ONNX file; export"
            " parts of the module"
        )
    with replacing(Path(path)) as temporary:
        save_whole(made, temporary)
    return Path(path)


def graph_with_paths(
    module: nn.Module, inputs: Any, *, opset: int = _OPSET, dynamic_shapes: Any = None
) -> ir.Model:
    """Return what `export_with_paths` writes."""
    made = traced(module, inputs, opset=opset, dynamic_shapes=dynamic_shapes, optimize=False)
    names = frozenset(module.state_dict())
    apply_passes(made, (KeepModulePaths(), CanonicalNames(names)))
    return made


def traced(
    module: nn.Module,
    inputs: Any,
    *,
    optimize: bool,
    opset: int = _OPSET,
    dynamic_shapes: Any = None,
) -> ir.Model:
    """Return what torch's exporter makes of a module, with its own notes of paths.

    Raises:
        InputError: as of `export_with_paths`.
    """
    require_ready(module)
    args, kwargs = call_of(inputs)
    with quiet_exporter():
        program = torch.onnx.export(
            module,
            args,
            kwargs=kwargs,
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=dynamic_shapes,
            optimize=optimize,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch's exporter returned no program")
    return program.model


def call_of(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a module is called with, arrays as tensors.

    Args:
        inputs: a tensor or an array, a tuple or list of arguments, or a dict by name.
    """
    if isinstance(inputs, Mapping):
        return (), {str(name): _tensors(value) for name, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(_tensors(value) for value in inputs), {}
    return (_tensors(inputs),), {}


def require_ready(module: nn.Module) -> None:
    """Refuse a module that gives other numbers each time, or is not on the CPU.

    Raises:
        InputError: it is such a module.
    """
    training = [path for path, part in module.named_modules() if part.training]
    if training:
        raise InputError(
            f"{type(module).__name__}: {training[0] or 'it'} is in training mode; call .eval()"
            " first"
        )
    away = [n for n, t in module.named_parameters() if t.device.type != "cpu"]
    if away:
        raise InputError(f"{type(module).__name__}: {away[0]} is not on the CPU; call .cpu()")


def quiet_exporter() -> AbstractContextManager[None]:
    """Silence notices that are not about this model, such as torchvision being absent."""
    return quiet("torch.onnx", logging.ERROR)


def _tensors(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if hasattr(value, "__array__"):
        return torch.from_numpy(value.__array__().copy())
    if isinstance(value, Mapping):
        return {name: _tensors(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_tensors(item) for item in value)
    return [_tensors(item) for item in value] if isinstance(value, list) else value
