"""ONNX Runtime in JavaScript, in Node and in a browser: their names, and what is missing."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from .backend import Running


@dataclass(frozen=True)
class InJavaScript:
    """A runtime that there is no worker for in this version."""

    name: str
    where: str

    def lacks(self) -> str:
        """Say that there is no worker."""
        return (
            f"no worker in this version runs files in {self.where}; 'nox -s web' compares the"
            " tokens of the module in web/ there"
        )

    def start(self, threads: int) -> AbstractContextManager[Running]:
        """Refuse: it lacks what it takes."""
        raise NotImplementedError(self.lacks())


BACKENDS = (InJavaScript("node", "Node"), InJavaScript("web", "a browser"))
