"""What is taken as right in a walk: what every module took and gave on one input.

A source is PyTorch (`verify.localisation.torch_source`), whose modules are watched as they
run, a graph (`verify.localisation.graph_source`), by the module path its nodes carry, or a
recorded set (`verify.localisation.recorded_source`).  All speak of modules by the same
published paths.

Modules are handed over a *stage* at a time, a stage being a module with a bounded amount of
weights: at released size one transformer layer.  What a stage computed inside is let go before
the next one runs, so no walk holds the activations of a whole model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

ROOT = ""

# Weights of one stage: a transformer layer of released size has 66 MB, the largest block of
# the codec's decoder 60 MB.
STAGE_BYTES = 1 << 27


@dataclass(frozen=True)
class ModuleIO:
    """What one module did.

    Attributes:
        inputs: arrays that went in, in call order.
        outputs: arrays that came out.
        rounding: measures its own float32 rounding on these inputs, as relative L2; None
            where it cannot be measured.
    """

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    rounding: Callable[[], float] | None = None


Trace = dict[str, ModuleIO]
"""Modules by path, in the order in which they finished.

A module called more than once is absent: its calls cannot be told apart by path.
"""

Visit = Callable[[Trace], None]


class Source(ABC):
    """The side of a walk that is taken as right.

    Attributes:
        inputs: of the whole, by the names of the graph's inputs.
        stages: paths of its stages.
    """

    inputs: Mapping[str, np.ndarray]
    stages: Sequence[str]

    def expected(self) -> frozenset[str]:
        """Find the modules that a sound export has; others are folded into neighbours."""
        return frozenset()

    @abstractmethod
    def stream(self, visit: Visit) -> None:
        """Run, and hand over the modules that finished since the last time, stage by stage."""


def stages_of(sizes: Mapping[str, int]) -> list[str]:
    """Return the shallowest paths of bounded weight, or that have nothing inside.

    Args:
        sizes: bytes of weights at or below each path, the root's under the empty one.
    """
    found = [
        path
        for path, size in sizes.items()
        if size <= STAGE_BYTES or not any(is_below(other, path) for other in sizes)
    ]
    return [path for path in found if not any(is_below(path, other) for other in found)]


def children_of(path: str, paths: Iterable[str]) -> list[str]:
    """Return the nearest of some paths below one, the root's for an empty one."""
    inside = [p for p in paths if is_below(p, path)]
    return [p for p in inside if not any(is_below(p, q) for q in inside)]


def is_below(path: str, outer: str) -> bool:
    """Return whether a path lies within another and is not that itself."""
    return path != outer and (not outer or path.startswith(outer + "."))


def is_within(path: str, stages: Iterable[str]) -> bool:
    """Return whether a path is one of some stages or lies within one."""
    return any(path == stage or is_below(path, stage) for stage in stages)
