"""Transforms of a module before it is exported, one small class a file."""

from .base import (
    GraphPass,
    ModulePass,
    NotFiniteError,
    PassError,
    PassResult,
    run_graph_passes,
    run_module_passes,
)
from .fold_codebooks import FoldCodebooksIntoEmbedding
from .fold_snake import FoldSnake
from .fold_weight_norm import FoldWeightNorm
from .merge_lora import MergeLoRA
from .normalise_codebooks import NormaliseCodebooks
from .pointwise_linear import PointwiseToLinear
from .stack_codebooks import StackCodebooks
from .tabulate_bias import TabulatePositionBias

__all__ = [
    "FoldCodebooksIntoEmbedding",
    "FoldSnake",
    "FoldWeightNorm",
    "GraphPass",
    "MergeLoRA",
    "ModulePass",
    "NormaliseCodebooks",
    "NotFiniteError",
    "PassError",
    "PassResult",
    "PointwiseToLinear",
    "StackCodebooks",
    "TabulatePositionBias",
    "run_graph_passes",
    "run_module_passes",
]
