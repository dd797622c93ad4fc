"""What decides the bytes of an export, or the numbers of a report: tools, and our source."""

import hashlib
import platform
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable

from vampnet_onnx.configs.extras import installed_version

PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxscript", "onnxsim", "torch")

# What graphs and weights are made by.  Of the configuration only the published defaults: the
# rest of it is named in the manifest or decides no byte of a graph.
_SOURCE = ("models", "export")
_DEFAULTS = "reference_defaults.toml"
# What computes anything that a verification tells.
_NUMBERS = ("configs", "models", "export", "pipeline", "verify")


def toolchain() -> dict[str, str]:
    """Return versions by package name, Python's and our own included."""
    versions = {name: installed_version(name)[1] for name in PACKAGES}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, "vampnet-onnx": metadata.version("vampnet-onnx"), **versions}


@cache
def source_hash() -> str:
    """Return the digest of our own source that makes graphs, as it is installed, hex.

    The version of the package stays the same from one commit to the next; this does not.
    """
    return _hash_of(_SOURCE, (_DEFAULTS,))


@cache
def package_hash() -> str:
    """Return the digest of our own source, and of settings, that decides any number, hex."""
    settings = resources.files("vampnet_onnx.configs").iterdir()
    tables = sorted(entry.name for entry in settings if entry.name.endswith(".toml"))
    return _hash_of(_NUMBERS, tables)


def _hash_of(folders: Iterable[str], tables: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for folder in folders:
        for name, file in _modules(resources.files(f"vampnet_onnx.{folder}"), folder):
            _add(digest, name, file)
    for name in tables:
        _add(digest, name, resources.files("vampnet_onnx.configs").joinpath(name))
    return digest.hexdigest()


def _modules(folder: Traversable, name: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _modules(entry, f"{name}/{entry.name}")
        elif entry.name.endswith(".py"):
            yield f"{name}/{entry.name}", entry


def _add(digest: "hashlib._Hash", name: str, file: Traversable) -> None:
    content = file.read_bytes()
    digest.update(f"{name} {len(content)}\n".encode())
    digest.update(content)
