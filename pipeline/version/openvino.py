"""A graph on OpenVINO, with what `Session` has of it.

OpenVINO's default on processors with bf16 is bf16, without a word: of its three digits the
codec's encoder makes other codes.  So float32 is asked for by name, and read back of every
operation.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, said
from vampnet_onnx.configs.files import plainly_named

from .session import describe

_PRECISION = "f32"
_LESS = ("bf16", "f16")  # as OpenVINO names what an operation runs in


class OpenVinoSession:
    """Runs one graph on OpenVINO's CPU, in float32."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Load a graph.

        Args:
            threads: for one operator; 0 leaves the choice to OpenVINO.

        Raises:
            InputError: the file cannot be loaded.
            EnvironmentLacksError: OpenVINO runs some of it in less than float32.
        """
        import openvino

        described = describe(path)
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _PRECISION}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            with plainly_named(path) as file:
                self._compiled = openvino.Core().compile_model(str(file), "CPU", settings)
        except Exception as error:  # OpenVINO's errors share no other base
            raise InputError(f"{path}: OpenVINO cannot load it: {said(error)}") from error
        require_float32(self._compiled, path.name)
        self.path = path
        self.adapter: Path | None = None
        self.inputs, self.outputs = described.inputs, described.outputs
        self.metadata = described.metadata
        self.placement = dict[str, int]()

    def use_adapter(self, path: Path | None) -> None:
        """Refuse any adapter: OpenVINO takes the defaults of a graph's inputs for weights.

        Raises:
            InputError: one was asked for.
        """
        if path is not None:
            raise InputError(
                f"{path}: OpenVINO switches no adapters; leave --runtime openvino out, or"
                " merge the LoRA file at export (without --lora-adapters)"
            )

    def run(
        self, inputs: Mapping[str, np.ndarray], *, only: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Compute every output, and return those of `only` if it names some.

        Raises:
            InputError: the graph does not run on them.
        """
        wanted = [item.name for item in self.outputs] if only is None else list(only)
        try:
            arrays = {name: _plainly_typed(array) for name, array in inputs.items()}
            found = self._compiled(arrays, share_outputs=False)
        except Exception as error:  # OpenVINO's errors share no other base
            raise InputError(f"{self.path.name}: does not run: {said(error)}") from error
        return {name: found[name] for name in wanted}


def _plainly_typed(array: np.ndarray) -> np.ndarray:
    """Return an array under the plain type of its kind: NumPy has two int64, OpenVINO one."""
    return array.view(np.dtype(array.dtype.name))


def require_float32(compiled: Any, who: str) -> None:
    """Refuse a compiled graph of which an operation computes in less than float32.

    Raises:
        EnvironmentLacksError: saying how many do.
    """
    found = Counter[str]()
    for operation in compiled.get_runtime_model().get_ops():
        facts = operation.get_rt_info()
        if "runtimePrecision" in facts:
            found[facts["runtimePrecision"].astype(str)] += 1
    less = {kind: found[kind] for kind in _LESS if found[kind]}
    if less:
        told = " and ".join(f"{count} operations in {kind}" for kind, count in less.items())
        raise EnvironmentLacksError(
            f"{who}: OpenVINO computes {told}, though {_PRECISION} was asked for; run it"
            " on ONNX Runtime (leave --runtime openvino out)"
        )
