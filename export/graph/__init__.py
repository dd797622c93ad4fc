"""Transforms of an exported graph, one idea a file."""

from .builder import GraphBuilder
from .constants import FoldCasts, PlainReshapes
from .module_paths import MODULE_KEY, KeepModulePaths, module_of
from .names import CanonicalNames
from .signature import SetSignature, check_graph, ir_version_of
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
    "check_graph",
    "ir_version_of",
    "module_of",
]
