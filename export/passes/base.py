"""What a pass over a module is, and the runner that checks each one by running the module.

A pass says what it requires, changes the module in place, and says what it then guarantees.
The runner computes the module's outputs on a seeded input before and after: a pass that
changes a number it should not change stops the export, whatever it claims.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.manifest import PassRecord

M = TypeVar("M", bound=nn.Module)

# What another order of the same float32 sums may cost at the output of a deep network: 1.4e-6
# was measured at 20 layers; a wrong weight costs 1e-3 and more.
REORDERING = 1e-5


@dataclass(frozen=True)
class PassResult:
    """What a pass changed.

    Attributes:
        changed: modules or nodes changed; 0 means the pass found nothing to do.
        details: one line for the manifest.
    """

    changed: int
    details: str


class PassError(Exception):
    """A pass did not hold what it promises: a defect of ours, never the user's mistake."""


class NotFiniteError(PassError):
    """The module gives NaN or infinity before any pass, so no pass can be checked."""


class ModulePass:
    """A transform of a module in place.

    Attributes:
        tolerance: largest relative L2 change of float outputs that it may cause; 0 where it
            does the same operations in the same order, some of them once and for all.
    """

    tolerance = 0.0

    def requires(self, module: nn.Module) -> None:
        """Raise `PassError` if the pass cannot be applied to the module; any will do here."""

    def call(self, module: nn.Module) -> PassResult:
        """Change the module in place."""
        raise NotImplementedError

    def ensures(self, module: nn.Module) -> None:
        """Raise `PassError` if the module is not as the pass promises."""
        raise NotImplementedError


class ReplaceEvery(ModulePass, Generic[M]):
    """A pass that makes something else of every module of a kind, and leaves none of them.

    Attributes:
        kind: of the modules.
        details: for the manifest; may say ``{count}`` and ``{paths}`` of what was replaced.
    """

    kind: type[nn.Module] | tuple[type[nn.Module], ...]
    details: str

    def matches(self, module: nn.Module) -> bool:
        """Whether a module is to be replaced."""
        return isinstance(module, self.kind)

    def replacement(self, module: M) -> nn.Module:
        """Return what takes a module's place."""
        raise NotImplementedError

    def call(self, module: nn.Module) -> PassResult:
        """Replace them, in module order."""
        paths = [path for path, m in module.named_modules() if path and self.matches(m)]
        for path in paths:
            parent, _, name = path.rpartition(".")
            made = self.replacement(cast(M, module.get_submodule(path)))
            setattr(module.get_submodule(parent), name, made)
        named = ", ".join(paths) or "nothing"
        return PassResult(len(paths), self.details.format(count=len(paths), paths=named))

    def ensures(self, module: nn.Module) -> None:
        """None is left."""
        left = [type(m).__name__ for m in module.modules() if self.matches(m)]
        if left:
            raise PassError(f"{type(self).__name__} left a {left[0]} and {len(left) - 1} more")


def run_module_passes(
    module: nn.Module, passes: Sequence[ModulePass], example: tuple[Tensor, ...]
) -> list[PassRecord]:
    """Run passes in order, each checked by running the module before and after it.

    Args:
        module: changed in place.
        passes: what to run.
        example: a seeded input of the module.

    Raises:
        PassError: a requirement, a promise or an output does not hold.
        NotFiniteError: there is nothing to compare a pass's result with.
    """
    records = []
    before = _outputs(module, example)
    if not all(bool(torch.isfinite(value).all()) for value in before):
        raise NotFiniteError("outputs are NaN or infinite before any pass")
    for item in passes:
        name = type(item).__name__
        item.requires(module)
        result = item.call(module)
        item.ensures(module)
        after = _outputs(module, example)
        change = max(_changes(before, after))
        # Written so that NaN fails.
        if not change <= item.tolerance:
            raise PassError(
                f"pass {name} changed the module's output by {change:.3g} (relative L2),"
                f" more than {item.tolerance:.3g}"
            )
        records.append(PassRecord(name=name, tolerance=item.tolerance, **vars(result)))
        before = after
    return records


def frozen(value: Tensor) -> nn.Parameter:
    """Return the tensor as a contiguous parameter without gradient."""
    return nn.Parameter(value.detach().contiguous(), requires_grad=False)


def _outputs(module: nn.Module, example: tuple[Tensor, ...]) -> list[Tensor]:
    with torch.no_grad():
        result = module(*example)
    return [result] if isinstance(result, Tensor) else list(result)


def _changes(before: list[Tensor], after: list[Tensor]) -> Iterator[float]:
    for old, new in zip(before, after, strict=True):
        if old.shape != new.shape or old.dtype != new.dtype:
            raise PassError(
                f"a pass changed an output from {old.dtype} {tuple(old.shape)} to"
                f" {new.dtype} {tuple(new.shape)}"
            )
        if old.is_floating_point():
            norm = torch.linalg.vector_norm(old.double())
            yield float(torch.linalg.vector_norm(new.double() - old.double()) / norm)
        else:
            yield 0.0 if torch.equal(old, new) else float("inf")
