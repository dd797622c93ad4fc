"""Defects to plant: every mistake we know how to make, and which module it is made in.

The harness is tested with them (`verify.self_test.run`): each must be caught by the default
gates, and the module must be named.  A class with a component and a culprit, in any module of
this room, is a defect; nothing lists it.
"""

from importlib import import_module
from pkgutil import iter_modules

from .base import Defect, GraphDefect, ModuleDefect, all_defects

__all__ = ["Defect", "GraphDefect", "ModuleDefect", "all_defects"]

_FIRST = ("transformer", "attention", "codec", "graph", "built")  # as reports order them

for _name in dict.fromkeys((*_FIRST, *(module.name for module in iter_modules(__path__)))):
    import_module(f"{__name__}.{_name}")
