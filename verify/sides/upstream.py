"""The published packages as oracle: our side of `verify.sides.upstream_worker`.

The worker runs in another interpreter, since the packages need an old torch and an old NumPy.
It opens checkpoints with ``weights_only=True`` whatever its torch would do by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.manifest import LORA_ROLE, ComponentRecord
from vampnet_onnx.configs.names import TRACKER
from vampnet_onnx.configs.settings import vamp_settings
from vampnet_onnx.configs.text import is_text
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.checkpoints.published_copy import published_copy
from vampnet_onnx.verify.subjects.case import Arrays, Case, Computed
from vampnet_onnx.verify.subjects.registry import subject_of

REMEDY = (
    "Build an interpreter that has them with 'nox -s upstream' (it needs github.com), or"
    " install what the extra 'upstream' in pyproject.toml lists into a virtual environment of"
    " Python 3.9 to 3.11, and give its python with --upstream-python"
)
_WORKER = Path(__file__).with_name("upstream_worker.py")


class Worker:
    """The published packages at work in another interpreter; made by `open_worker`."""

    def __init__(self, process: subprocess.Popen[str], python: str, folder: Path) -> None:
        """Take a started process and the folder to exchange arrays in."""
        self._process = process
        self._python = python
        self._folder = folder
        self._at_work = threading.Lock()

    def call(
        self, operation: str, arrays: Mapping[str, np.ndarray] | None = None, **parameters: Any
    ) -> dict[str, np.ndarray]:
        """Run one operation of the worker.

        Raises:
            EnvironmentLacksError: a package does not import, or fails.
        """
        with self._at_work:  # the worker answers one at a time, in one file
            return self._call(operation, arrays, parameters)

    def _call(
        self,
        operation: str,
        arrays: Mapping[str, np.ndarray] | None,
        parameters: dict[str, Any],
    ) -> dict[str, np.ndarray]:
        inputs, outputs = self._folder / "in.npz", self._folder / "out.npz"
        if arrays:
            np.savez(inputs, **arrays)  # type: ignore[arg-type]
        request = {
            "operation": operation,
            "parameters": parameters,
            "inputs": str(inputs) if arrays else None,
            "outputs": str(outputs),
        }
        answer = self._ask(request)
        if "lacks" in answer:
            raise EnvironmentLacksError(
                f"{self._python} cannot run the published packages: {answer['lacks']}."
                f" {REMEDY}"
            )
        if "error" in answer:
            raise EnvironmentLacksError(
                f"the published packages in {self._python} failed at {operation!r}:"
                f" {answer['error']}"
            )
        with np.load(outputs, allow_pickle=False) as data:
            return dict(data)

    @cached_property
    def description(self) -> str:
        """The packages with the versions they run under."""
        found = self.call("describe")
        return (
            f"the published packages vampnet and lac (torch {found['torch']},"
            f" NumPy {found['numpy']}, Python {found['python']})"
        )

    def _ask(self, request: dict[str, Any]) -> dict[str, str]:
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        try:
            answer: dict[str, str] = json.loads(line)
        except json.JSONDecodeError as error:
            code = self._process.wait()
            raise EnvironmentLacksError(
                f"{self._python} ended (exit code {code}) instead of running the published"
                f" packages: {self._last_words()}. {REMEDY}"
            ) from error
        return answer

    def _last_words(self) -> str:
        text = (self._folder / "stderr").read_text("utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "it said nothing"


@contextlib.contextmanager
def open_worker(
    python: str | Path | None,
    checkpoints: Checkpoints,
    *,
    chunk_seconds: tuple[float, float] | None = None,
    threads: int = 0,
) -> Iterator[Worker]:
    """Start the worker and make sure that the packages can open the codec.

    Args:
        python: the interpreter that has the packages, a file or the name of a
            program; None for our own.
        checkpoints: what to open, LoRA files included.
        chunk_seconds: of the coarse and the coarse-to-fine model; None for the published ones.

    Raises:
        InputError: no such interpreter.
        EnvironmentLacksError: it does not have the packages.
    """
    interpreter = shutil.which(python or sys.executable)
    if interpreter is None:
        raise InputError(f"--upstream-python {python}: no such program. {REMEDY}")
    published = vamp_settings()
    chunks = chunk_seconds or (published.coarse_chunk_s, published.c2f_chunk_s)
    with temporary_folder() as temporary:
        folder = Path(temporary)
        # Its beat tracker is of a package of its own.
        files = {name: path for name, path in checkpoints.files.items() if name != TRACKER}
        settings = {
            "files": _readable(files, folder),
            "lora": _readable(checkpoints.lora, folder, role=LORA_ROLE),
            "chunk_sizes_s": chunks,
            "threads": threads,
        }
        # From a folder of its own: Python puts a script's folder first in its path.
        script = shutil.copy(_WORKER, folder)
        with (folder / "stderr").open("wb") as log:
            process = subprocess.Popen(
                [interpreter, script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                env={**os.environ, "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"},
            )
        try:
            worker = Worker(process, interpreter, folder)
            with contextlib.suppress(BrokenPipeError):
                assert process.stdin is not None
                process.stdin.write(json.dumps(settings) + "\n")
            assert worker.description
            yield worker
        finally:
            process.kill()
            process.communicate()


def _readable(files: Mapping[str, Path], folder: Path, *, role: str = "") -> dict[str, str]:
    """Return files that the packages open: each as it is, or a copy of it where need be."""
    found = {}
    for name, path in files.items():
        copy = folder / f"{name}{role}.pth"
        there = published_copy(path, copy, role=role or name).resolve()
        if not is_text(str(there)):  # which torch does not open
            link = folder / f"{name}{role}-linked.pth"
            link.symlink_to(there)
            there = link
        found[name] = str(there)
    return found


class UpstreamReference:
    """Runs components on the published packages, as `Reference` does on ours."""

    def __init__(self, worker: Worker, precision: str = "float32") -> None:
        """Take the worker; float64 computes in double precision."""
        self._worker = worker
        self._precision = precision

    @property
    def description(self) -> str:
        """What reports say of it."""
        return self._worker.description

    @cached_property
    def in_float64(self) -> UpstreamReference:
        """The same models in float64."""
        return UpstreamReference(self._worker, "float64")

    def knows(self, record: ComponentRecord) -> bool:
        """Whether the packages have a part of a component's shape, to run on seeded inputs."""
        return subject_of(record).published(record) is not None

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the seeded cases of the matrix."""
        return subject_of(record).cases(record, matrix)

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case that cannot be made."""
        subject_of(record).require(record, case)

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Return the seeded inputs of a case."""
        return subject_of(record).inputs(record, case)

    def run(self, record: ComponentRecord, case: Case) -> Computed:
        """Compute what a component gives in a case.

        Raises:
            InputError: the packages have nothing that computes this component.
        """
        published = subject_of(record).published(record)
        if published is None:
            raise InputError(
                f"--reference upstream cannot verify {record.id}: the published packages have"
                " no part of that shape; give --component for those they have"
            )
        found = self._worker.call(
            published.operation,
            self.inputs(record, case),
            precision=self._precision,
            **published.parameters,
        )
        outputs = {name: found[name] for name in published.outputs}
        margins = subject_of(record).margins(outputs, self._tables)
        return Computed(outputs, margins, self._tables)

    @cached_property
    def _tables(self) -> list[np.ndarray]:
        found = self._worker.call("tables")
        return [found[str(i)] for i in range(len(found))]
