"""What a component is, before it is exported, and how the table of components knows it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir
import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.generator import Option
from vampnet_onnx.configs.manifest import Fact, TensorSignature
from vampnet_onnx.configs.names import CODEC
from vampnet_onnx.export.graph.builder import GraphBuilder, Var
from vampnet_onnx.export.passes import ModulePass
from vampnet_onnx.models import LAC, CodecDims, ModelSet, TrackerDims, VampNetDims

# Traced sizes are primes, so that no fixed number of the graph can be mistaken for them.
TRACE_BATCH = 2
TRACE_FRAMES = 13

Build = Callable[[GraphBuilder, Mapping[str, Var]], Mapping[str, Var]]
"""Builds a component's graph: from its inputs to its outputs, both by name."""


@dataclass(frozen=True)
class Structure:
    """What the graph of a traced component depends on, of all that a checkpoint is.

    Attributes:
        codec: dimensions of the codec, if the component is made from one.
        transformer: dimensions of the transformer, if it is one.
        tracker: dimensions of the beat tracker, if it is made from one.
    """

    name: str
    variant: str
    codec: CodecDims | None
    transformer: VampNetDims | None = None
    tracker: TrackerDims | None = None


@dataclass(frozen=True)
class Component:
    """One file to export.

    Attributes:
        variant: empty, or such as ``latents`` or ``int8``.
        dims: dimensions of the checkpoint.
        measured: finds the facts, where somebody asks for them.
    """

    name: str
    variant: str
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    dims: CodecDims | VampNetDims | TrackerDims
    measured: Callable[[], dict[str, Fact]] = dataclasses.field(default=dict, kw_only=True)

    @property
    def id(self) -> str:
        """Name with variant, such as ``coarse.latents``."""
        return f"{self.name}.{self.variant}" if self.variant else self.name

    @cached_property
    def facts(self) -> dict[str, Fact]:
        """What a caller must know beyond the signature (`configs.manifest`)."""
        return self.measured()

    def dims_record(self) -> dict[str, int | tuple[int, ...]]:
        """Return the dimensions as plain values."""
        return dataclasses.asdict(self.dims)


@dataclass(frozen=True)
class TracedComponent(Component):
    """A network, exported by tracing its module.

    Attributes:
        structure: what other components with the same graph have in common.
        module: the module to trace; passes change it in place.
        example: traced input, seeded.
        form: that is made of the graph, of `export.variants`; empty for float32.
    """

    structure: Structure
    module: nn.Module
    passes: Sequence[ModulePass]
    example: tuple[Tensor, ...]
    form: str = ""


@dataclass(frozen=True)
class BuiltComponent(Component):
    """Something that has no weights, whose graph is built node by node."""

    build: Build


@dataclass(frozen=True)
class GeneratorComponent(Component):
    """A graph that is built around a network's, with the weights of the network's own file.

    Attributes:
        defaults: values of inputs where nobody chooses others.
    """

    network: TracedComponent
    defaults: Mapping[str, Option]
    build: Callable[[GraphBuilder, Mapping[str, Var], ir.Model], Mapping[str, Var]]


def network_of(component: Component) -> TracedComponent | None:
    """Return the network that a component is, or is built around; None where it has none."""
    if isinstance(component, GeneratorComponent):
        return component.network
    return component if isinstance(component, TracedComponent) else None


@dataclass(frozen=True)
class Exporter:
    """One line of the table of components (`export.components.registry`).

    Attributes:
        place: in the order in which components are exported and listed.
        build: prepares it, from the models and the variant's name.
        checkpoint: ``codec``, or the other network it is made from.
        variants: those to export, empty for the standard one, given the entry points of the
            transformers, the rates in Hz of audio beside the codec's own (None for the usual
            ones) and the codec's dimensions, if there is one.
        is_variant: whether there is a variant of this name.
        is_traced: whether it is a network, and has a graph that is traced.
    """

    name: str
    place: int
    build: Callable[[ModelSet, str], Component]
    checkpoint: str = CODEC
    variants: Callable[[Sequence[str], Sequence[int] | None, CodecDims | None], list[str]] = (
        lambda inputs, rates, dims: [""]
    )
    is_variant: Callable[[str], bool] = lambda variant: not variant
    is_traced: bool = False


def codec_of(models: ModelSet, name: str) -> LAC:
    """Return the codec that a component is made from.

    Raises:
        InputError: there is none.
    """
    if models.codec is None:
        raise InputError(
            f"{models.folder}: no codec.pth, which {name} is made from; give it with --codec"
        )
    return models.codec


def seeded_codes(books: int, below: int) -> Tensor:
    """Return codes to trace with, int64 [batch, books, frames]."""
    shape = (TRACE_BATCH, books, TRACE_FRAMES)
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(0))


def seeded_normal(*shape: int) -> Tensor:
    """Return normal numbers to trace with, float32."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def signature(name: str, dtype: str, *shape: int | str) -> TensorSignature:
    """Return the signature of an input or output; no shape means a scalar."""
    return TensorSignature(name=name, dtype=dtype, shape=shape)
