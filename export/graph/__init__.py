"""Transforms of an exported graph, one idea a file."""

from .builder import GraphBuilder, Var
from .fold_casts import FoldCasts
from .module_paths import MODULE_KEY, KeepModulePaths
from .names import CanonicalNames
from .plain_reshapes import PlainReshapes
from .signature import SetSignature, check_graph
from .simplify import Simplify

__all__ = [
    "MODULE_KEY",
    "CanonicalNames",
    "FoldCasts",
    "GraphBuilder",
    "KeepModulePaths",
    "PlainReshapes",
    "SetSignature",
    "Simplify",
    "Var",
    "check_graph",
]
