"""Transforms of an exported graph, one idea a file."""

from .module_paths import MODULE_KEY, KeepModulePaths
from .names import CanonicalNames
from .signature import SetSignature, check_graph
from .simplify import Simplify

__all__ = [
    "MODULE_KEY",
    "CanonicalNames",
    "KeepModulePaths",
    "SetSignature",
    "Simplify",
    "check_graph",
]
