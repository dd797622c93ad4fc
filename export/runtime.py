"""Which opsets the ONNX Runtime that is installed loads: exporting and verifying use it."""

from functools import cache

import onnx
import onnxruntime as ort

from vampnet_onnx.configs.errors import EnvironmentLacksError

from .graph import ir_version_of

OPSETS = range(18, 24)


def require_runtime(opset: int) -> None:
    """Refuse an opset that is too new for the runtime.

    Constants would be folded by halves, and nothing could be verified.

    Raises:
        EnvironmentLacksError: naming the newest opset that it loads.
    """
    if not loads(opset):
        newest = max(filter(loads, OPSETS))
        raise EnvironmentLacksError(
            f"ONNX Runtime {ort.__version__} loads no graph of opset {opset}; take a newer one"
            f" (pip install -U onnxruntime), or opset {newest} (--opset {newest}; export.opset"
            " of a configuration)"
        )


@cache
def loads(opset: int) -> bool:
    """Return whether the runtime loads a graph of an opset, by trying it with the smallest."""
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"])
        for name in "xy"
    )
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "smallest", [x], [y]),
        opset_imports=[onnx.helper.make_opsetid("", opset)],
        ir_version=ir_version_of(opset),
    )
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors come as exceptions
    try:
        ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # ONNX Runtime's errors share no other base; any of them is the answer
        return False
    return True
