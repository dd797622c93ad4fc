"""Transforms of an exported graph, one idea a file."""

from .builder import GraphBuilder, Var
from .module_paths import MODULE_KEY, KeepModulePaths
from .names import CanonicalNames
from .signature import SetSignature, check_graph
from .simplify import Simplify

__all__ = [
    "MODULE_KEY",
    "CanonicalNames",
    "GraphBuilder",
    "KeepModulePaths",
    "SetSignature",
    "Simplify",
    "Var",
    "check_graph",
]
