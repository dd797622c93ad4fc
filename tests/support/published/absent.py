"""Stand-ins for packages that the published ones import and that nothing here calls.

Not stand-ins for the published packages: those run as they are.  The session ``published`` of
``noxfile.py`` has this imported in an interpreter that has them, before they are.  Whatever is
asked of such a module is a class that does nothing.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys

# Experiment names, training loops, players and pages: of ``audiotools`` alone.
ABSENT = (
    "ffmpy",
    "ignite",
    "IPython",
    "markdown2",
    "randomname",
    "torch.utils.tensorboard",
)


class _Anything(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        if any(fullname == name or fullname.startswith(f"{name}.") for name in ABSENT):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__getattr__ = lambda name: getattr(_Anything(module.__name__, (), {}), name)


sys.meta_path.insert(0, _Finder())
