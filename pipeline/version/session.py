"""An ONNX Runtime session over one artifact, with names checked on the way in."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime as ort

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError, said
from vampnet_onnx.configs.external_data import require_own_data
from vampnet_onnx.configs.files import plainly_named
from vampnet_onnx.configs.manifest import ComponentRecord, TensorSignature

# What ONNX Runtime calls the element types that are not called as in NumPy.
_DTYPES = {"float": "float32", "double": "float64"}


class Graph(Protocol):
    """Anything that computes arrays by name from arrays by name, such as a `Session`."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute every output."""


class Session:
    """Runs one graph on the CPU."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Load a graph.

        Args:
            threads: for one operator; 0 leaves the choice to ONNX Runtime.

        Raises:
            InputError: ONNX Runtime cannot load the file.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle threads that spin slow down whatever else runs, PyTorch above all.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors come as exceptions
        try:
            # Its fallback prints on standard output, and tries the same again.
            with plainly_named(path) as file:
                self._session = ort.InferenceSession(
                    str(file), options, providers=["CPUExecutionProvider"], enable_fallback=0
                )
            # Names may be no UTF-8.
            self.inputs = tuple(map(_signature, self._session.get_inputs()))
            self.outputs = tuple(map(_signature, self._session.get_outputs()))
            facts = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # ONNX Runtime's errors share no other base
            message = f"{path}: ONNX Runtime {ort.__version__} cannot load it: {said(error)}"
            raise InputError(message) from error
        self.path = path
        self.metadata: dict[str, str] = facts
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


def open_session(
    artifacts: Artifacts, record: ComponentRecord, *, threads: int = 0
) -> Session:
    """Load a component, held to the hashes of the manifest while it loads.

    Args:
        threads: as of `Session`.

    Raises:
        InputError: a file is missing or changed, ONNX Runtime cannot load it, or it takes
            weights from a file that the manifest does not list.
    """
    path = artifacts.path(record)
    with artifacts.sealed(*record.files):
        require_own_data(record, path)
        return Session(path, threads=threads)


def _signature(item: ort.NodeArg) -> TensorSignature:
    dtype = item.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple("?" if axis is None else axis for axis in item.shape)
    return TensorSignature(name=item.name, dtype=_DTYPES.get(dtype, dtype), shape=shape)
