"""A graph on OpenVINO, with what `Session` has of it.

OpenVINO's default on processors with bf16 is bf16, without a word: of its three digits the
codec's encoder makes other codes.  So float32 is asked for by name, or bf16 where that was
wanted, and read back of every operation.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, said
from vampnet_onnx.configs.files import plainly_named

from .session import describe

# As OpenVINO names what an operation runs in, and the operations that are products.
_FLOAT32, _BFLOAT16 = "f32", "bf16"
_LESS = (_BFLOAT16, "f16")
_PRODUCTS = ("FullyConnected", "MatMul")


class OpenVinoSession:
    """Runs one graph on OpenVINO's CPU, in float32 or in bf16."""

    def __init__(
        self, path: Path, *, threads: int = 0, bf16: bool = False, part: bool = False
    ) -> None:
        """Load a graph.

        Args:
            threads: for one operator; 0 leaves the choice to OpenVINO.
            bf16: compute in it, where OpenVINO does; every product at least.
            part: of a graph, in which there may be nothing to compute.

        Raises:
            InputError: the file cannot be loaded.
            EnvironmentLacksError: OpenVINO runs some of it in another precision.
        """
        import openvino

        described = describe(path)
        wanted = _BFLOAT16 if bf16 else _FLOAT32
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": wanted}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            with plainly_named(path) as file:
                self._compiled = openvino.Core().compile_model(str(file), "CPU", settings)
        except Exception as error:  # OpenVINO's errors share no other base
            raise InputError(f"{path}: OpenVINO cannot load it: {said(error)}") from error
        require_precision(self._compiled, wanted, path.name, part=part)
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


def require_precision(compiled: Any, wanted: str, who: str, *, part: bool = False) -> None:
    """Refuse a compiled graph that computes in another precision than was asked for.

    In float32 that is any operation in less; in bf16, any product that is not in it, or no
    operation that is.

    Raises:
        EnvironmentLacksError: saying how many are.
    """
    found, right = Counter[str](), 0
    for operation in compiled.get_runtime_model().get_ops():
        facts = operation.get_rt_info()
        kind = facts["runtimePrecision"].astype(str) if "runtimePrecision" in facts else ""
        right += kind == wanted
        product = kind and facts["layerType"].astype(str) in _PRODUCTS
        if kind != wanted and (product if wanted == _BFLOAT16 else kind in _LESS):
            found[kind] += 1
    if found:
        what = "products" if wanted == _BFLOAT16 else "operations"
        told = " and ".join(f"{count} {what} in {kind}" for kind, count in found.items())
        rest = "bf16" if wanted == _BFLOAT16 else "runtime openvino"
        raise EnvironmentLacksError(
            f"{who}: OpenVINO computes {told}, though {wanted} was asked for; leave --{rest}"
            " out"
        )
    if wanted == _BFLOAT16 and not (right or part):
        raise EnvironmentLacksError(
            f"{who}: OpenVINO computes nothing in bf16, though it was asked for; leave --bf16"
            " out"
        )


def require_bf16_here() -> None:
    """Refuse bf16 where OpenVINO does not compute in it on this processor.

    Raises:
        EnvironmentLacksError: it does not.
    """
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in able:
        raise EnvironmentLacksError(
            f"--bf16: OpenVINO computes no bf16 on this processor ({', '.join(able)});"
            " leave --bf16 out"
        )
