"""What a component is, before it is exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from vampnet_onnx.configs.manifest import Fact, TensorSignature
from vampnet_onnx.export.graph.builder import GraphBuilder, Var
from vampnet_onnx.export.passes import ModulePass
from vampnet_onnx.models import CodecDims, VampNetDims

Draw = Callable[[GraphBuilder, Mapping[str, Var]], Mapping[str, Var]]
"""Draws a component's graph: from its inputs to its outputs, both by name."""


@dataclass(frozen=True)
class Component:
    """One file to export.

    Attributes:
        name: component name.
        variant: empty, or such as ``latents``.
        inputs: signature of the file.
        outputs: signature of the file.
        dims: dimensions of the checkpoint.
        facts: what a caller must know beyond the signature (`export.components.codec_facts`).
    """

    name: str
    variant: str
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    dims: CodecDims | VampNetDims
    facts: dict[str, Fact] = dataclasses.field(default_factory=dict, kw_only=True)

    @property
    def id(self) -> str:
        """Name with variant, such as ``coarse.latents``."""
        return f"{self.name}.{self.variant}" if self.variant else self.name

    def dims_record(self) -> dict[str, int | tuple[int, ...]]:
        """Return the dimensions as plain values."""
        return dataclasses.asdict(self.dims)


@dataclass(frozen=True)
class TracedComponent(Component):
    """A network, exported by tracing its module.

    Attributes:
        module: the module to trace; passes change it in place.
        passes: to run on it.
        example: traced input, seeded.
    """

    module: nn.Module
    passes: Sequence[ModulePass]
    example: tuple[Tensor, ...]


@dataclass(frozen=True)
class DrawnComponent(Component):
    """Something that has no weights, whose graph is drawn.

    Attributes:
        draw: draws it.
    """

    draw: Draw


def signature(name: str, dtype: str, *shape: int | str) -> TensorSignature:
    """Return the signature of an input or output; no shape means a scalar."""
    return TensorSignature(name=name, dtype=dtype, shape=shape)
