"""What a planted defect is."""

from __future__ import annotations

import types
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import onnx_ir as ir
from torch import Tensor, nn


class Defect(ABC):
    """A mistake in one component.

    Attributes:
        component: component to plant it in.
        culprit: path of the module it is made in; empty where no module can be to blame.
    """

    component: ClassVar[str]
    culprit: ClassVar[str]

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


class GraphDefect(Defect):
    """A mistake in the graph after export."""

    @abstractmethod
    def plant(self, model: ir.Model) -> None:
        """Change the graph in place."""


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


class Identity(nn.Module):
    """Returns its first argument, whatever else it is called with."""

    def forward(self, x: Tensor, *_others: object) -> Tensor:
        """Return x."""
        return x
