"""Runtimes of this process: ONNX Runtime in its modes, OpenVINO, ONNX's own reference."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnxruntime as ort

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, said
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.pipeline.version.session import Opened, Session, open_file

from .backend import GraphElsewhere, Running

_LEVELS = ort.GraphOptimizationLevel
_WEIGHTS = "session.optimized_model_external_initializers_file_name"


@dataclass(frozen=True)
class OnnxRuntimeHere:
    """The installed ONNX Runtime, as the pipeline opens it or with one thing changed.

    Attributes:
        mode: what is changed, in words.
    """

    name: str
    mode: str
    change: Callable[[ort.SessionOptions], None] = lambda _options: None
    saved: bool = False

    def lacks(self) -> str:
        """Return nothing: the pipeline runs on it."""
        return ""

    @contextmanager
    def start(self, threads: int) -> Iterator[Running]:
        """Get ready."""

        def opened(path: Path) -> Opened:
            if self.saved:
                return _saved_and_opened(path, Runtime(threads=threads))
            return Session(path, Runtime(threads=threads), change=self.change)

        version = ort.__version__
        yield Running(f"ONNX Runtime {version}, {self.mode}", version, opened)


def _saved_and_opened(path: Path, runtime: Runtime) -> Session:
    """Let ONNX Runtime write what it makes of a graph, and open that as it stands."""
    with temporary_folder() as folder:
        optimised = folder / path.name

        def save(options: ort.SessionOptions) -> None:
            options.optimized_model_filepath = str(optimised)
            # Else it would look for weights beside the file where there are none.
            options.add_session_config_entry(_WEIGHTS, f"{path.name}.data")

        def as_it_stands(options: ort.SessionOptions) -> None:
            options.graph_optimization_level = _LEVELS.ORT_DISABLE_ALL

        Session(path, runtime, change=save)
        session = Session(optimised, runtime, change=as_it_stands)
    session.path = path
    return session


def _two_threads(options: ort.SessionOptions) -> None:
    options.intra_op_num_threads = 2


def _basic(options: ort.SessionOptions) -> None:
    options.graph_optimization_level = _LEVELS.ORT_ENABLE_BASIC


def _off(options: ort.SessionOptions) -> None:
    options.graph_optimization_level = _LEVELS.ORT_DISABLE_ALL


def _parallel(options: ort.SessionOptions) -> None:
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.inter_op_num_threads = 2


@dataclass(frozen=True)
class OpenVinoHere:
    """OpenVINO on the CPU, every file on it wholly, in float32; see `OpenVinoSession`."""

    name: str = "openvino"

    def lacks(self) -> str:
        """Say whether the package is missing."""
        try:
            require_optional("openvino", otherwise="leave openvino out of --runtimes")
        except EnvironmentLacksError as error:
            return str(error)
        return ""

    @contextmanager
    def start(self, threads: int) -> Iterator[Running]:
        """Get ready."""
        runtime = Runtime("openvino", threads=threads)

        def opened(path: Path) -> Opened:
            try:
                return open_file(path, runtime)
            except EnvironmentLacksError as error:  # of its precision: here it is a finding
                raise InputError(str(error)) from error

        version = metadata.version("openvino")
        yield Running(f"OpenVINO {version} on the CPU, in f32", version, opened)


@dataclass(frozen=True)
class ReferenceHere:
    """The evaluator of the package onnx: NumPy, operator by operator, as the standard says."""

    name: str = "onnx-reference"

    def lacks(self) -> str:
        """Return nothing: whoever verifies has the package."""
        return ""

    @contextmanager
    def start(self, threads: int) -> Iterator[Running]:
        """Get ready."""
        import onnx
        from onnx.reference import ReferenceEvaluator

        def opened(path: Path) -> Opened:
            try:
                evaluator = ReferenceEvaluator(onnx.load(str(path)))
            except Exception as error:  # its errors share no other base
                raise InputError(f"{path}: {what} cannot load it: {said(error)}") from error

            def compute(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
                with np.errstate(all="ignore"):  # infinities that a later operator drops
                    values = evaluator.run(None, dict(inputs))
                return dict(zip(evaluator.output_names, map(np.asarray, values), strict=True))

            return GraphElsewhere(path, compute, self.name)

        what = f"onnx.reference of onnx {onnx.__version__}"
        yield Running(f"{what}, NumPy {np.__version__}", onnx.__version__, opened)


BACKENDS = (
    OnnxRuntimeHere("default", "as the pipeline opens it"),
    OnnxRuntimeHere("threads2", "two threads an operator", _two_threads),
    OnnxRuntimeHere("basic", "basic optimisations alone", _basic),
    OnnxRuntimeHere("off", "no optimisations", _off),
    OnnxRuntimeHere("parallel", "operators in parallel, two at a time", _parallel),
    OnnxRuntimeHere("saved", "its optimised model saved and opened again", saved=True),
    OpenVinoHere(),
    ReferenceHere(),
)
