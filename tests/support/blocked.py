"""An interpreter in which some modules cannot be imported, as if they were not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FACE = "import vampnet_onnx.__main__ as face; face.main()"

_PRELUDE = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if any(name == n or name.startswith(n + ".") for n in {blocked!r}):
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Without(finder) for finder in sys.meta_path]
"""


def python_without(
    blocked: tuple[str, ...], code: str, *arguments: object, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run code, such as `FACE`, where modules and all that is in them are blocked."""
    return subprocess.run(
        [sys.executable, "-c", _PRELUDE.format(blocked=blocked) + code, *map(str, arguments)],
        cwd=cwd,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
