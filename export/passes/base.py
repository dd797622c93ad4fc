"""What a pass over a module or a graph is, and the runners that check each one.

A pass says what it requires, changes the module or graph in place, and says what it then
guarantees.  Passes over a module are checked by running it: the runner computes its outputs on
a seeded input before and after, and a pass that changes a number it should not change stops
the export, whatever it claims.  What a graph computes is for the verification to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import onnx_ir as ir
import torch
from torch import Tensor, nn

from vampnet_onnx.configs.manifest import PassRecord

M = TypeVar("M", bound=nn.Module)
S = TypeVar("S", nn.Module, ir.Model)

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


class Pass(Generic[S]):
    """A transform, in place, of a module or of a graph.

    Attributes:
        tolerance: largest relative L2 change of a module's float outputs that it may cause; 0
            where it does the same operations in the same order, some of them once and for all.
            None for passes over graphs, whose check is the verification.
    """

    tolerance: float | None = None

    def requires(self, subject: S) -> None:
        """Raise `PassError` if the pass cannot be applied; anything will do here."""

    def call(self, subject: S) -> PassResult:
        """Change the module or graph in place."""
        raise NotImplementedError

    def ensures(self, subject: S) -> None:
        """Raise `PassError` if the module or graph is not as the pass promises."""
        raise NotImplementedError

    def refuse_left(self, left: Sequence[str | None]) -> None:
        """Raise `PassError` if anything is left that the pass should have replaced."""
        if left:
            raise PassError(f"{type(self).__name__} left {left[0]} and {len(left) - 1} more")


class ModulePass(Pass[nn.Module]):
    """A transform of a module in place."""

    tolerance: float = 0.0


GraphPass = Pass[ir.Model]


class ReplaceEvery(ModulePass, Generic[M]):
    """A pass that makes something else of every module of a kind, and leaves none of them.

    Attributes:
        kind: of the modules.
        details: for the manifest; may say ``{count}`` and ``{paths}`` of what was changed.
    """

    kind: type[nn.Module] | tuple[type[nn.Module], ...]
    details: str

    def matches(self, module: nn.Module) -> bool:
        """Whether a module is to be replaced."""
        return isinstance(module, self.kind)

    def replacement(self, module: M) -> nn.Module:
        """Return what takes a module's place."""
        raise NotImplementedError

    def count(self, module: M) -> int:
        """Return how many changes the replacement of a module counts for."""
        return 1

    def call(self, module: nn.Module) -> PassResult:
        """Replace them, in module order."""
        paths = [path for path, m in module.named_modules() if path and self.matches(m)]
        count = 0
        for path in paths:
            parent, _, name = path.rpartition(".")
            replaced = cast(M, module.get_submodule(path))
            setattr(module.get_submodule(parent), name, self.replacement(replaced))
            count += self.count(replaced)
        named = ", ".join(paths) or "nothing"
        return PassResult(count, self.details.format(count=count, paths=named))

    def ensures(self, module: nn.Module) -> None:
        """None is left."""
        self.refuse_left(
            [f"a {type(m).__name__}" for m in module.modules() if self.matches(m)]
        )


def apply_passes(subject: S, passes: Sequence[Pass[S]]) -> list[PassRecord]:
    """Run passes in order, each with its requirements and promises checked.

    What a pass over modules does to numbers is proved apart (`export.proof`).

    Raises:
        PassError: one of them does not hold.
    """
    return [_applied(item, subject) for item in passes]


def run_module_passes(
    module: nn.Module, passes: Sequence[ModulePass], example: tuple[Tensor, ...]
) -> list[PassRecord]:
    """Run passes in order, each checked by running the module before and after it.

    Args:
        module: changed in place.
        example: a seeded input of the module.

    Raises:
        PassError: a requirement, a promise or an output does not hold.
        NotFiniteError: there is nothing to compare a pass's result with.
    """
    records = []
    before = finite_outputs(module, example)
    for item in passes:
        records.append(_applied(item, module))
        after = _outputs(module, example)
        change = max(_changes(before, after))
        # Written so that NaN fails.
        if not change <= item.tolerance:
            raise PassError(
                f"pass {records[-1].name} changed the module's output by {change:.3g}"
                f" (relative L2), more than {item.tolerance:.3g}"
            )
        before = after
    return records


def finite_outputs(module: nn.Module, example: tuple[Tensor, ...]) -> list[Tensor]:
    """Return what a module computes of an input.

    Raises:
        NotFiniteError: it is not finite.
    """
    found = _outputs(module, example)
    if not all(bool(torch.isfinite(value).all()) for value in found):
        raise NotFiniteError("outputs are NaN or infinite before any pass")
    return found


def frozen(value: Tensor) -> nn.Parameter:
    """Return the tensor as a contiguous parameter without gradient."""
    return nn.Parameter(value.detach().contiguous(), requires_grad=False)


def _applied(item: Pass[S], subject: S) -> PassRecord:
    item.requires(subject)
    result = item.call(subject)
    item.ensures(subject)
    return PassRecord(name=type(item).__name__, tolerance=item.tolerance, **vars(result))


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
