"""Where a NaN or an infinity is born: finite inputs, non-finite output.

Source of the rule: an operator is the source of a non-finite value if its output is non-finite
while its direct inputs are finite, as Apple's coremltools puts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .graph_modules import GraphModules
from .trace import Trace

CHECKPOINT = "the checkpoint does it: PyTorch gives non-finite values on this input"
EXPORT = "the export does it: PyTorch is finite on this input"
NEITHER = "both sides are finite"


@dataclass(frozen=True)
class Birth:
    """Where non-finite values come from.

    Attributes:
        verdict: who is to blame.
        module: first module of the reference with finite inputs and non-finite output.
        node: first node of the export of that kind.
        node_module: path of the module the node came from.
        operator: type of the node.
    """

    verdict: str
    module: str = ""
    node: str = ""
    node_module: str = ""
    operator: str = ""

    def __str__(self) -> str:
        parts = [self.verdict]
        if self.module:
            parts.append(f"first module of the reference: {self.module}")
        if self.node:
            parts.append(
                f"first node of the export: {self.node} ({self.operator}, in"
                f" {self.node_module or 'the root'})"
            )
        return "; ".join(parts)


def find_birth(
    reference: Trace, graph: GraphModules, inputs: Mapping[str, np.ndarray]
) -> Birth:
    """Look for the first non-finite value on both sides.

    Args:
        reference: what every module of the reference took and gave.
        graph: the export.
        inputs: the input both sides run on.
    """
    operators = graph.operators()
    values = graph.run(inputs, [name for *_, outputs in operators for name in outputs])
    born = next(
        (
            (name, kind, path)
            for name, kind, path, taken, made in operators
            if _finite([values[n] for n in taken]) and not _finite([values[n] for n in made])
        ),
        None,
    )
    module = next(
        (
            path
            for path, io in reference.modules.items()
            if _finite(io.inputs) and not _finite(io.outputs)
        ),
        "",
    )
    if not module and not born:
        return Birth(NEITHER)
    name, kind, path = born or ("", "", "")
    return Birth(CHECKPOINT if module else EXPORT, module, name, path, kind)


def _finite(arrays: Sequence[np.ndarray]) -> bool:
    return all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f")
