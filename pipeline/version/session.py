"""A session over one artifact, with names checked on the way in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError, said
from vampnet_onnx.configs.external_data import require_own_data
from vampnet_onnx.configs.files import plainly_named
from vampnet_onnx.configs.manifest import ComponentRecord, TensorSignature
from vampnet_onnx.configs.runtime import Runtime

from .providers import PROVIDERS, Node, profiled, require_placed, runtime_for

# What ONNX Runtime calls the element types that are not called as in NumPy.
_DTYPES = {"float": "float32", "double": "float64"}


class Graph(Protocol):
    """Anything that computes arrays by name from arrays by name, such as a `Session`."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute every output."""


class Opened(Graph, Protocol):
    """A component's graph, opened by some runtime.

    Attributes:
        metadata: of the file.
        adapter: file of the low-rank update in use.
        placement: how many nodes ran on each provider of ONNX Runtime; empty where nothing
            but the CPU was asked for.
    """

    path: Path
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    metadata: dict[str, str]
    adapter: Path | None
    placement: dict[str, int]

    def use_adapter(self, path: Path | None) -> None:
        """Switch to a low-rank update of the graph's weights, or back to none."""

    def run(
        self, inputs: Mapping[str, np.ndarray], *, only: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Compute every output, or those of `only` and nothing else."""


class Session:
    """Runs one graph on ONNX Runtime."""

    def __init__(
        self,
        path: Path,
        runtime: Runtime | None = None,
        *,
        sample: Mapping[str, np.ndarray] | None = None,
        change: Callable[[ort.SessionOptions], None] = lambda _options: None,
    ) -> None:
        """Load a graph; on a provider it runs once, to see where every node runs.

        Args:
            runtime: ONNX Runtime's own choice of threads on the CPU if left out.
            sample: what it runs on once; the smallest input if left out.
            change: puts other options than the usual ones.

        Raises:
            InputError: ONNX Runtime cannot load the file.
            EnvironmentLacksError: the provider does not run all of it; see `providers`.
        """
        runtime = runtime or Runtime()
        options, provider = _options(runtime.threads), PROVIDERS[runtime.provider]
        change(options)
        nodes = list[Node]()
        try:
            if runtime.is_usual:
                self._session = _load(path, options, ["CPUExecutionProvider"])
            else:
                wanted = [(provider.name, provider.options(runtime)), "CPUExecutionProvider"]
                self._session, nodes = profiled(
                    lambda o: _load(path, o, wanted), options, sample
                )
            described = _described(self._session)
        except Exception as error:  # ONNX Runtime's errors share no other base
            message = f"{path}: ONNX Runtime {ort.__version__} cannot load it: {said(error)}"
            raise InputError(message) from error
        self.placement = {} if runtime.is_usual else require_placed(nodes, provider, path.name)
        self.path = path
        self.inputs, self.outputs = described.inputs, described.outputs
        self.metadata = described.metadata
        self.adapter: Path | None = None
        self._adapter: ort.LoraAdapter | None = None

    def use_adapter(self, path: Path | None) -> None:
        """Switch to a low-rank update of the graph's weights, or back to none.

        Raises:
            InputError: ONNX Runtime cannot load the file.
        """
        adapter = None
        if path is not None:
            adapter = ort.LoraAdapter()
            try:
                with plainly_named(path) as file:
                    adapter.Load(str(file))
            except Exception as error:  # ONNX Runtime's errors share no other base
                raise InputError(
                    f"{path}: ONNX Runtime {ort.__version__} cannot load it: {said(error)}"
                ) from error
        self.adapter, self._adapter = path, adapter

    def run(
        self, inputs: Mapping[str, np.ndarray], *, only: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Compute outputs.

        Args:
            only: compute these outputs and nothing else; every output if left out.

        Raises:
            InputError: the graph does not run on them.
        """
        wanted = [item.name for item in self.outputs] if only is None else list(only)
        options = ort.RunOptions()
        options.only_execute_path_to_fetches = only is not None
        if self._adapter is not None:
            options.add_active_adapter(self._adapter)
        try:
            values = self._session.run(wanted, dict(inputs), options)
        except Exception as error:  # ONNX Runtime's errors share no other base
            raise InputError(f"{self.path.name}: does not run: {said(error)}") from error
        return dict(zip(wanted, values, strict=True))


@dataclass(frozen=True)
class Described:
    """What a file says of itself."""

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    metadata: dict[str, str]


def describe(path: Path) -> Described:
    """Read what a graph takes and gives, and its metadata, without making it fit to run.

    Raises:
        InputError: ONNX Runtime cannot load the file.
    """
    options = _options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return _described(_load(path, options, ["CPUExecutionProvider"]))
    except Exception as error:  # ONNX Runtime's errors share no other base
        raise InputError(f"{path}: ONNX Runtime cannot load it: {said(error)}") from error


def open_session(
    artifacts: Artifacts, record: ComponentRecord, runtime: Runtime | None = None
) -> Opened:
    """Load a component where it belongs, held to the manifest's hashes while it loads.

    Args:
        runtime: asked for; what runs on the CPU on purpose runs there, see `runtime_for`.

    Raises:
        InputError: a file is missing or changed, the runtime cannot load it, or it takes
            weights from a file that the manifest does not list.
        EnvironmentLacksError: a provider does not run all of it.
    """
    path = artifacts.path(record)
    with artifacts.sealed(*record.files):
        require_own_data(record, path)
        return open_graph(path, record, runtime)


def open_graph(path: Path, record: ComponentRecord, runtime: Runtime | None = None) -> Opened:
    """Load a component's file where it belongs, whatever its hash; see `open_session`."""
    return open_file(path, runtime_for(record.id, runtime or Runtime()))


def open_file(
    path: Path, runtime: Runtime, *, sample: Mapping[str, np.ndarray] | None = None
) -> Opened:
    """Load any graph on a runtime, wholly.

    Args:
        sample: of a part of a graph: what it runs on once, on a provider; without it, that is
            the smallest input.

    Raises:
        InputError: the runtime cannot load it.
        EnvironmentLacksError: a provider does not run all of it.
    """
    if runtime.name == "openvino":
        from .openvino import OpenVinoSession

        part = sample is not None
        return OpenVinoSession(path, threads=runtime.threads, bf16=runtime.bf16, part=part)
    return Session(path, runtime, sample=sample)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Idle threads that spin slow down whatever else runs, PyTorch above all.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors come as exceptions
    return options


def _load(
    path: Path, options: ort.SessionOptions, providers: list[Any]
) -> ort.InferenceSession:
    # Its fallback prints on standard output, and tries the same again.
    with plainly_named(path) as file:
        return ort.InferenceSession(str(file), options, providers=providers, enable_fallback=0)


def _described(session: ort.InferenceSession) -> Described:
    # Names may be no UTF-8.
    return Described(
        tuple(map(_signature, session.get_inputs())),
        tuple(map(_signature, session.get_outputs())),
        session.get_modelmeta().custom_metadata_map,
    )


def _signature(item: ort.NodeArg) -> TensorSignature:
    dtype = item.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple("?" if axis is None else axis for axis in item.shape)
    return TensorSignature(name=item.name, dtype=_DTYPES.get(dtype, dtype), shape=shape)
