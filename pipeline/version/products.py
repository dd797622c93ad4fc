"""Whether this processor computes products of 8-bit integers as they are.

Processors without 8-bit dot products add pairs of products in 16 bits, where a product of
unsigned activations and signed weights may not fit: it is cut off, in silence.  A known
product tells.
"""

import base64
from functools import cache

import numpy as np
import onnxruntime as ort

from vampnet_onnx.configs.errors import InputError

WIDTH = 64  # of the product's rows
LARGEST = (255, 127)  # of an activation and of a weight

# A graph of one MatMulInteger: x uint8 [1, 64] and w int8 [64, 16] to y int32 [1, 16].  This
# room has nothing to write a graph with; the tests say what it is.
GRAPH = base64.b64decode(
    "CAg6kwEKLwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARADKgF/QgF2oAEEChgKAXgK"
    "AXcSAXkiDU1hdE11bEludGVnZXISAWcqGQgCEAdCAXNKEEAAAAAAAAAAEAAAAAAAAABaEwoBeBIOCgwI"
    "AhIICgIIAQoCCEBiEwoBeRIOCgwIBhIICgIIAQoCCBBCBAoAEBI="
)


@cache
def products_are_exact() -> bool:
    """Return whether the largest product that there is comes out right."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])
    activation, weight = LARGEST
    found = session.run(["y"], {"x": np.full((1, WIDTH), activation, np.uint8)})[0]
    return bool((found == WIDTH * activation * weight).all())


def require_exact_products(form: str) -> None:
    """Refuse a form whose products this processor would cut off.

    Raises:
        InputError: it would.
    """
    if not products_are_exact():
        raise InputError(
            f"--variant {form}: this processor has no 8-bit dot products, and cuts off"
            " products that do not fit in 16 bits: tokens would be wrong without a word."
            " Leave --variant out, or export and use w8"
        )
