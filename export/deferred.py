"""Tensors that are computed when somebody asks for them.

Passes over a module make new weights of old ones.  On deferred tensors they only say how: a
weight is computed when it is written, from tensors that lie on disk, and let go again.  So an
export holds one tensor at a time, and nothing can look at a value while a graph is made: to
ask a deferred tensor for one is an error.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only

M = TypeVar("M", bound=nn.Module)

# What the exporter traces: its tensors have shapes, strides and types, and no values.
_SHAPES = FakeTensorMode(allow_non_fake_inputs=True)


class Deferred(Tensor):
    """A tensor of known shape, strides and type, and what computes it."""

    _like: Tensor
    _made: Callable[[], Tensor]

    @staticmethod
    def __new__(cls, like: Tensor, made: Callable[[], Tensor]) -> "Deferred":
        """Take a tensor without values, and what gives one with them."""
        new: Deferred = Tensor._make_wrapper_subclass(
            cls,
            like.shape,
            strides=like.stride(),
            storage_offset=like.storage_offset(),
            dtype=like.dtype,
            device=torch.device("cpu"),
        )
        new._like, new._made = like, made
        return new

    def compute(self) -> Tensor:
        """Return the values; nothing is kept."""
        return self._made()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls,
        func: Any,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Note an operation down instead of computing it."""
        given = (args, kwargs or {})
        if func._schema.is_mutable:
            raise TypeError(f"{func} changes a weight in place; a pass makes a new one")
        if torch.Tag.data_dependent_output in func.tags:
            raise TypeError(f"{func} looks at the values of a weight")

        def computed() -> Any:
            args, kwargs = tree_map_only(Deferred, Deferred.compute, given)
            return func(*args, **kwargs)

        args, kwargs = tree_map_only(Tensor, _like, given)
        like = func(*args, **kwargs)
        if isinstance(like, Tensor):
            return Deferred(like, computed)
        if isinstance(like, (tuple, list)):
            return [Deferred(one, _nth(computed, i)) for i, one in enumerate(like)]
        raise TypeError(f"{func} looks at the values of a weight")


def deferred(module: M) -> M:
    """Copy a module's structure, with a deferred tensor in the place of every parameter."""
    return _copied(module, lambda own: Deferred(_meta(own), own.detach))


def weightless(module: M) -> M:
    """Copy a module's structure; its parameters keep shapes and types and have no values."""
    return _copied(module, _without_values)


def _copied(module: M, made: Callable[[Tensor], Tensor]) -> M:
    memo = {id(p): nn.Parameter(made(p), requires_grad=False) for p in module.parameters()}
    return copy.deepcopy(module, memo)


def _like(tensor: Tensor) -> Tensor:
    return tensor._like if isinstance(tensor, Deferred) else tensor.to("meta")


def _meta(tensor: Tensor) -> Tensor:
    """Return its shape, strides and type; operations on those take half the time of fakes'."""
    return torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta"
    )


def _without_values(tensor: Tensor) -> Tensor:
    with _SHAPES:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


def _nth(made: Callable[[], Any], i: int) -> Callable[[], Tensor]:
    return lambda: made()[i]
