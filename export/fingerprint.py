"""What a graph is, in few bytes: so that a file is held to an export without a second one."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from vampnet_onnx.configs.manifest import PassRecord


@dataclass(frozen=True)
class Fingerprint:
    """Digests of one graph.

    Attributes:
        graph: of everything but the weights: signature, nodes with their attributes, branches
            and module paths, opset.  What a file says of itself (its metadata) is left out.
        weights: of every initializer with its type and shape, by name.
    """

    graph: str
    weights: Mapping[str, str]


@dataclass(frozen=True)
class Made:
    """What an export gave, in few bytes."""

    graph: Fingerprint
    passes: tuple[PassRecord, ...]


def fingerprint(model: ir.Model) -> Fingerprint:
    """Return the digests of a graph; it is left as it is."""
    held = dict(model.graph.initializers)
    weights = {name: _digest(value) for name, value in held.items()}
    model.graph.initializers.clear()
    try:
        message = ir.to_proto(model)
    finally:
        model.graph.initializers.update(held)
    opsets = sorted(model.opset_imports.items())
    text = f"{model.ir_version} {opsets} {sorted(map(str, model.functions))}\n".encode()
    graph = message.graph.SerializeToString(deterministic=True)
    return Fingerprint(hashlib.sha256(text + graph).hexdigest(), weights)


def _digest(value: ir.Value) -> str:
    if value.const_value is None:
        return "no value"
    array = value.const_value.numpy()
    digest = hashlib.sha256(f"{value.const_value.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
