"""Versions of everything that decides the bytes of an export or the numbers of a report."""

import platform
from importlib import metadata

PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "onnxsim", "torch")


def toolchain() -> dict[str, str]:
    """Return versions by package name, Python's and our own included."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, "vampnet-onnx": metadata.version("vampnet-onnx"), **versions}
