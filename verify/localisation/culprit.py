"""What a walk finds: how far off each module is, and which ones introduce the error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .graph import GraphModules
from .likeness import distance
from .partial_run import run_alone

# Float32 reordering inside one module measures up to 2e-7, inside a stack of them 6e-7; an
# RMSNorm eps ten times too large costs its module 4e-6.
OWN_ERROR_LIMIT = 1e-6

MISSING = "missing in the export"
INTRODUCES = "introduces the error"
PASSES_ON = "passes it on"
SOUND = "agrees"


@dataclass(frozen=True)
class ModuleFinding:
    """One module.

    Attributes:
        error: relative L2 of its output when the whole export runs; NaN if not comparable.
        own_error: the same on the reference's inputs; NaN where it was not tried.
        verdict: one of the constants of this module.
    """

    path: str
    error: float
    own_error: float
    verdict: str


@dataclass(frozen=True)
class LoneModule:
    """A module cut out of a graph, with the reference's inputs.

    Attributes:
        inputs: arrays by its input names.
        reference: what the reference's module gives.
    """

    model: ir.Model
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    reference: tuple[np.ndarray, ...]

    @property
    def error(self) -> float:
        """Relative L2 of what it gives."""
        return distance(self.reference, list(self.outputs.values()))


@dataclass(frozen=True)
class Localisation:
    """Result of a walk.

    Attributes:
        findings: modules in the order in which the reference runs them.
        culprits: paths of the modules that introduce an error, the first one first.
        cut_out: the first culprit by itself, if it is there to be cut out.
    """

    findings: tuple[ModuleFinding, ...]
    culprits: tuple[str, ...]
    cut_out: LoneModule | None = None


def cut_out(
    graph: GraphModules,
    path: str,
    inputs: Mapping[str, np.ndarray],
    reference: tuple[np.ndarray, ...],
    stages: Sequence[str] = (),
) -> LoneModule | None:
    """Cut a module out of a graph and run it; None if it does not run.

    Args as of `run_alone`, and what the reference's module gives.
    """
    outputs = run_alone(graph, path, inputs, stages)
    if outputs is None:
        return None
    model = graph.part(inputs, graph.borders[path].outputs)
    return LoneModule(model, inputs, outputs, reference)
