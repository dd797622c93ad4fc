"""ONNX Runtime in JavaScript, in Node and in a browser, through workers of ``web/matrix/``."""

import os
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from .backend import Running
from .process import Command, lacking, running

_WEB = Path(__file__).parents[3] / "web"
REMEDY = (
    "install Node 20 (apt-get install nodejs npm) and, in a checkout, what its lock names:"
    " npm ci --prefix web"
)
_BROWSER = "; and the browser: apt-get install chromium, or name another one in CHROMIUM"


@dataclass(frozen=True)
class InJavaScript:
    """One of its packages, through a worker.

    Attributes:
        package: of npm; found below ``web/`` of this folder, or of the checkout that this is
            run from.
        worker: its file.
        browser: the worker is told which one.
    """

    name: str
    package: str
    worker: str
    browser: bool = False

    def lacks(self) -> str:
        """Say what is missing here."""
        if self._packages() is None:
            return f"{self.package} is not installed; {self._remedy}"
        return lacking(self._command())

    def start(self, threads: int) -> AbstractContextManager[Running]:
        """Start the worker."""
        return running(self._command(), threads)

    @property
    def _remedy(self) -> str:
        return REMEDY + (_BROWSER if self.browser else "")

    def _packages(self) -> Path | None:
        """Return the folder that has the package."""
        places = (_WEB, Path.cwd() / "web")
        return next((p for p in places if (p / "node_modules" / self.package).is_dir()), None)

    def _command(self) -> Command:
        more = [os.environ.get("CHROMIUM", "chromium")] if self.browser else []
        words = [shutil.which("node") or "node", str(_WEB / "matrix" / self.worker)]
        return Command([*words, str(self._packages()), *more], self._remedy)


BACKENDS = (
    InJavaScript("node", "onnxruntime-node", "node.js"),
    InJavaScript("web", "onnxruntime-web", "browser.js", browser=True),
)
