"""Whether this processor computes products of 8-bit integers as they are.

Processors without 8-bit dot products add pairs of products in 16 bits, where a product of
unsigned activations and signed weights may not fit: it is cut off, in silence.  Known
products tell: those that a form is made of, of the largest numbers that there are.
"""

import base64
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import InputError

WIDTH, COLUMNS = 256, 16  # of a weight
ROWS = (1, 9)  # of an input; one alone has kernels of its own

_LARGEST = 127  # of a weight, in steps of its scale

# Graphs of float32 [n, WIDTH] to float32, as tests/support/known_products.py writes them: this
# room has nothing to write a graph with.
_INT8 = base64.b64decode(
    "CAg61QwKOAoKaGlnaF9zaGFwZRIEaGlnaCIPQ29uc3RhbnRPZlNoYXBlKhMKBXZhbHVlKgcIARADSgF/oAEE"
    "CjYKCWxvd19zaGFwZRIDbG93Ig9Db25zdGFudE9mU2hhcGUqEwoFdmFsdWUqBwgBEANKAYGgAQQKPwoMc2Nh"
    "bGVzX3NoYXBlEgZzY2FsZXMiD0NvbnN0YW50T2ZTaGFwZSoWCgV2YWx1ZSoKCAEQAUoEAACAP6ABBAo9Cgt0"
    "d2ljZV9zaGFwZRIFdHdpY2UiD0NvbnN0YW50T2ZTaGFwZSoWCgV2YWx1ZSoKCAEQAUoEAAAAQKABBAo4Cgp6"
    "ZXJvX3NoYXBlEgR6ZXJvIg9Db25zdGFudE9mU2hhcGUqEwoFdmFsdWUqBwgBEANKAQCgAQQKKQoEaGlnaAoD"
    "bG93Egd3ZWlnaHRzIgZDb25jYXQqCwoEYXhpcxgBoAECCigKA2xvdwoEaGlnaBIGdHVybmVkIgZDb25jYXQq"
    "CwoEYXhpcxgBoAECCi8KAXgSAng4Egd4X3NjYWxlEgZ4X3plcm8iFUR5bmFtaWNRdWFudGl6ZUxpbmVhcgov"
    "CgF5EgJ5OBIHeV9zY2FsZRIGeV96ZXJvIhVEeW5hbWljUXVhbnRpemVMaW5lYXIKLwoBehICejgSB3pfc2Nh"
    "bGUSBnpfemVybyIVRHluYW1pY1F1YW50aXplTGluZWFyCjoKAng4Cgd3ZWlnaHRzCgZ4X3plcm8KBHplcm8S"
    "DmFsb25lX2ludGVnZXJzIg1NYXRNdWxJbnRlZ2VyCi8KDmFsb25lX2ludGVnZXJzEgxhbG9uZV9mbG9hdHMi"
    "BENhc3QqCQoCdG8YAaABAgojCgd4X3NjYWxlCgZzY2FsZXMSC2Fsb25lX3NjYWxlIgNNdWwKJwoMYWxvbmVf"
    "ZmxvYXRzCgthbG9uZV9zY2FsZRIFYWxvbmUiA011bAo6CgJ5OAoHd2VpZ2h0cwoGeV96ZXJvCgR6ZXJvEg5m"
    "aXJzdF9pbnRlZ2VycyINTWF0TXVsSW50ZWdlcgovCg5maXJzdF9pbnRlZ2VycxIMZmlyc3RfZmxvYXRzIgRD"
    "YXN0KgkKAnRvGAGgAQIKIwoHeV9zY2FsZQoGc2NhbGVzEgtmaXJzdF9zY2FsZSIDTXVsCicKDGZpcnN0X2Zs"
    "b2F0cwoLZmlyc3Rfc2NhbGUSBWZpcnN0IgNNdWwKOgoCeTgKBnR1cm5lZAoGeV96ZXJvCgR6ZXJvEg9zZWNv"
    "bmRfaW50ZWdlcnMiDU1hdE11bEludGVnZXIKMQoPc2Vjb25kX2ludGVnZXJzEg1zZWNvbmRfZmxvYXRzIgRD"
    "YXN0KgkKAnRvGAGgAQIKIwoHeV9zY2FsZQoFdHdpY2USDHNlY29uZF9zY2FsZSIDTXVsCioKDXNlY29uZF9m"
    "bG9hdHMKDHNlY29uZF9zY2FsZRIGc2Vjb25kIgNNdWwKJAoCejgSBGtleXMiCVRyYW5zcG9zZSoNCgRwZXJt"
    "QAFAAKABBwo6CgJ6OAoEa2V5cwoGel96ZXJvCgZ6X3plcm8SD3Njb3Jlc19pbnRlZ2VycyINTWF0TXVsSW50"
    "ZWdlcgoxCg9zY29yZXNfaW50ZWdlcnMSDXNjb3Jlc19mbG9hdHMiBENhc3QqCQoCdG8YAaABAgolCgd6X3Nj"
    "YWxlCgd6X3NjYWxlEgxzY29yZXNfc2NhbGUiA011bAoqCg1zY29yZXNfZmxvYXRzCgxzY29yZXNfc2NhbGUS"
    "BnNjb3JlcyIDTXVsEgVrbm93bioVCAIQBzoDgAIIQgpoaWdoX3NoYXBlKhQIAhAHOgOAAghCCWxvd19zaGFw"
    "ZSoVCAEQBzoBEEIMc2NhbGVzX3NoYXBlKhQIARAHOgEQQgt0d2ljZV9zaGFwZSoQCAAQB0IKemVyb19zaGFw"
    "ZVoVCgF4EhAKDggBEgoKAxIBbgoDCIACWhUKAXkSEAoOCAESCgoDEgFuCgMIgAJaFQoBehIQCg4IARIKCgMS"
    "AW4KAwiAAmIYCgVhbG9uZRIPCg0IARIJCgMSAW4KAggQYhgKBWZpcnN0Eg8KDQgBEgkKAxIBbgoCCBBiGQoG"
    "c2Vjb25kEg8KDQgBEgkKAxIBbgoCCBBiGgoGc2NvcmVzEhAKDggBEgoKAxIBbgoDEgFuQgQKABAS"
)
_W8 = base64.b64decode(
    "CAg6pgYKRgoRd2VpZ2h0c18yNTZfc2hhcGUSC3dlaWdodHNfMjU2Ig9Db25zdGFudE9mU2hhcGUqEwoFdmFs"
    "dWUqBwgBEAJKAf+gAQQKRwoQc2NhbGVzXzI1Nl9zaGFwZRIKc2NhbGVzXzI1NiIPQ29uc3RhbnRPZlNoYXBl"
    "KhYKBXZhbHVlKgoIARABSgQAAIA/oAEECpQBCgF4Cgt3ZWlnaHRzXzI1NgoKc2NhbGVzXzI1NhINYmxvY2tz"
    "X29mXzI1NiILTWF0TXVsTkJpdHMqCQoBSxiAAqABAioICgFOGBCgAQIqFQoOYWNjdXJhY3lfbGV2ZWwYBKAB"
    "AioLCgRiaXRzGAigAQIqEgoKYmxvY2tfc2l6ZRiAAqABAjoNY29tLm1pY3Jvc29mdApGChF3ZWlnaHRzXzEy"
    "OF9zaGFwZRILd2VpZ2h0c18xMjgiD0NvbnN0YW50T2ZTaGFwZSoTCgV2YWx1ZSoHCAEQAkoB/6ABBApHChBz"
    "Y2FsZXNfMTI4X3NoYXBlEgpzY2FsZXNfMTI4Ig9Db25zdGFudE9mU2hhcGUqFgoFdmFsdWUqCggBEAFKBAAA"
    "gD+gAQQKlAEKAXgKC3dlaWdodHNfMTI4CgpzY2FsZXNfMTI4Eg1ibG9ja3Nfb2ZfMTI4IgtNYXRNdWxOQml0"
    "cyoJCgFLGIACoAECKggKAU4YEKABAioVCg5hY2N1cmFjeV9sZXZlbBgEoAECKgsKBGJpdHMYCKABAioSCgpi"
    "bG9ja19zaXplGIABoAECOg1jb20ubWljcm9zb2Z0EgVrbm93biodCAMQBzoEEAGAAkIRd2VpZ2h0c18yNTZf"
    "c2hhcGUqGQgBEAc6ARBCEHNjYWxlc18yNTZfc2hhcGUqHQgDEAc6BBACgAFCEXdlaWdodHNfMTI4X3NoYXBl"
    "KhkIARAHOgEgQhBzY2FsZXNfMTI4X3NoYXBlWhUKAXgSEAoOCAESCgoDEgFuCgMIgAJiIAoNYmxvY2tzX29m"
    "XzI1NhIPCg0IARIJCgMSAW4KAggQYiAKDWJsb2Nrc19vZl8xMjgSDwoNCAESCQoDEgFuCgIIEEIECgAQEkIR"
    "Cg1jb20ubWljcm9zb2Z0EAE="
)


@dataclass(frozen=True)
class _Known:
    """Known products.

    Attributes:
        graph: takes ones.
        expected: rows of its outputs by name, [COLUMNS], or one number for all.
    """

    graph: bytes
    expected: dict[str, NDArray[np.float64]]


_SUMS = np.repeat([1, -1], COLUMNS // 2) * float(WIDTH * _LARGEST)

KNOWN = {
    # A product by itself, two of one input, and scores, of two unsigned factors.
    "int8": _Known(
        _INT8,
        {
            "alone": _SUMS,
            "first": _SUMS,
            "second": -2 * _SUMS,
            "scores": np.array([float(WIDTH)]),
        },
    ),
    "w8": _Known(_W8, {"blocks_of_256": _SUMS[:1], "blocks_of_128": _SUMS[:1]}),
}
"""By form; the others have no products of 8-bit integers that may be cut off."""


@cache
def products_are_exact(form: str) -> bool:
    """Return whether the largest products of a form come out right."""
    known = KNOWN[form]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(known.graph, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_inputs()]
    for rows in ROWS:
        ones = np.ones((rows, WIDTH), np.float32)
        found = session.run(list(known.expected), dict.fromkeys(names, ones))
        for array, expected in zip(found, known.expected.values(), strict=True):
            if not np.allclose(array, expected, rtol=1e-5, atol=0):
                return False
    return True


def require_exact_products(form: str) -> None:
    """Refuse a form whose products this processor would cut off.

    Raises:
        InputError: it would.
    """
    if form in KNOWN and not products_are_exact(form):
        raise InputError(
            f"--variant {form}: this processor has no 8-bit dot products, and cuts off"
            " products that do not fit in 16 bits: tokens would be wrong without a word."
            " Leave --variant out, or export and use fp16"
        )
