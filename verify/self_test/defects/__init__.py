"""Defects to plant: every mistake we know how to make, and which module it is made in.

The harness is tested with them (`verify.self_test.run`): each must be caught by the default
gates, and the module must be named.  A class that says of which component it is, in any module
of this room, is a defect; nothing lists it.
"""

from importlib import import_module
from pkgutil import iter_modules

from .base import KINDS, Defect, FileDefect, GraphDefect, ModuleDefect

__all__ = ["Defect", "FileDefect", "GraphDefect", "ModuleDefect", "all_defects"]

_FIRST = (
    "transformer",
    "attention",
    "codec",
    "graph",
    "built",
    "generator",
    "hidden",
    "forms",
    "tracker",
)  # as reports order them


def all_defects() -> list[Defect]:
    """Return one of every kind, in the order of the modules and of their definitions."""
    others = (module.name for module in iter_modules(__path__))
    modules = [f"{__name__}.{name}" for name in dict.fromkeys((*_FIRST, *others))]
    for module in modules:
        import_module(module)
    found = [kind for kind in KINDS.values() if kind.__module__ in modules]
    return [kind() for kind in sorted(found, key=lambda kind: modules.index(kind.__module__))]
