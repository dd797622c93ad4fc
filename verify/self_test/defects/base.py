"""What a planted defect is, and the ways to plant one."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir
from torch import Tensor, nn

from vampnet_onnx.export.graph import MODULE_KEY

KINDS: dict[str, type[Defect]] = {}


class Defect(ABC):
    """A mistake in one component; a subclass that says of which is registered by its name."""

    component: ClassVar[str]
    culprit: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(
        cls, *, of: str = "", at: str | None = None, also: tuple[str, ...] = ()
    ) -> None:
        """Register a defect; what has no component is a kind of them.

        Args:
            of: component to plant it in.
            at: path of the module it is made in, the culprit; empty where no module can be to
                blame, and left out where the kind says it.
            also: paths that are as right, since they share a computation with it.
        """
        if also:
            cls.also = also
        if at is not None:
            cls.culprit = at
        if of:
            cls.component = of
            if cls.__name__ in KINDS:
                raise TypeError(f"there is a defect {cls.__name__} already")
            KINDS[cls.__name__] = cls

    @property
    def name(self) -> str:
        """Class name."""
        return type(self).__name__

    @property
    def description(self) -> str:
        """First line of the class's docstring."""
        return (type(self).__doc__ or "").partition("\n")[0].rstrip(".")


class ModuleDefect(Defect):
    """A mistake in the module that is exported."""

    @abstractmethod
    def plant(self, module: Any) -> None:
        """Change the entry module in place; its tensors are shared with the reference.

        Args:
            module: of `export.components`; untyped, since defects reach into whatever
            is there.
        """


class ModuleLost(ModuleDefect):
    """The culprit is left out; what goes into it comes out."""

    def plant(self, module: Any) -> None:
        """Put the identity in its place."""
        module.set_submodule(self.culprit, _Identity())


class ForwardDefect(ModuleDefect):
    """The culprit computes something else.

    Attributes:
        forward: static; takes the culprit and its arguments.
    """

    forward: Callable[..., Any]

    def plant(self, module: Any) -> None:
        """Replace its forward."""
        replace_forward(module.get_submodule(self.culprit), self.forward)


class GraphDefect(Defect):
    """A mistake in the graph after export."""

    @abstractmethod
    def plant(self, model: ir.Model) -> None:
        """Change the graph in place."""


class FileDefect(GraphDefect):
    """A mistake in a file that was exported soundly: what its checkpoint gives tells of it."""


def replace_tensor(module: nn.Module, name: str, change: Callable[[Tensor], Tensor]) -> None:
    """Give a module a changed copy of one of its parameters; the old tensor stays as it is."""
    old = module.get_parameter(name)
    owner, _, last = name.rpartition(".")
    new = nn.Parameter(change(old.detach().clone()), requires_grad=False)
    parent = module.get_submodule(owner)
    if isinstance(parent, nn.ParameterDict):
        parent[last] = new
    else:
        setattr(parent, last, new)


def replace_forward(module: nn.Module, forward: Callable[..., Any]) -> None:
    """Give one module another forward, called as a method."""
    module.forward = types.MethodType(forward, module)


def replace_weight(
    model: ir.Model, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Give a graph a changed copy of one of its weights."""
    value = model.graph.initializers[name]
    assert value.const_value is not None
    value.const_value = ir.tensor(change(value.const_value.numpy().copy()), name=name)


def nodes_of(model: ir.Model, path: str, kind: str) -> Iterator[ir.Node]:
    """Yield the nodes of a module that have one type, those inside branches and bodies too."""
    for node in model.graph.all_nodes():
        if node.op_type == kind and node.metadata_props.get(MODULE_KEY) == path:
            yield node


class _Identity(nn.Module):
    """Returns its first argument, whatever else it is called with."""

    def forward(self, x: Tensor, *_others: object) -> Tensor:
        return x
