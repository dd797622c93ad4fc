"""Transforms of a module before it is exported, one idea a file."""

from .base import ModulePass, NotFiniteError, PassResult, run_module_passes
from .fold_codebooks import FoldCodebooksIntoEmbedding
from .fold_norms import FoldBatchNorm
from .folds import FoldSnake, FoldWeightNorm
from .linear import MergeLoRA, PointwiseToLinear
from .normalise_codebooks import NormaliseCodebooks
from .stack_codebooks import StackCodebooks
from .tabulate_bias import TabulatePositionBias

__all__ = [
    "FoldBatchNorm",
    "FoldCodebooksIntoEmbedding",
    "FoldSnake",
    "FoldWeightNorm",
    "MergeLoRA",
    "ModulePass",
    "NormaliseCodebooks",
    "NotFiniteError",
    "PassResult",
    "PointwiseToLinear",
    "StackCodebooks",
    "TabulatePositionBias",
    "run_module_passes",
]
