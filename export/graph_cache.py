"""Graphs kept from one run to the next.

A graph depends on dimensions, opset and tools alone, so the next checkpoint of the same
dimensions needs only its weights written.  An entry is a file that holds its own digest and
all that its graph was made of: what is damaged, is another graph's, or is none that weights
fit into, is not used but made again.  Whether a kept graph is what would be made today, only
making it again tells: *audit* does, and is never given one of these.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vampnet_onnx.configs.errors import InputError, said
from vampnet_onnx.configs.extras import installed_version
from vampnet_onnx.configs.files import file_errors, replacing
from vampnet_onnx.configs.manifest import PassRecord

from .toolchain import source_hash, toolchain
from .trace import GraphRequest, OpenGraph, require_sound

_FORMAT = b"vampnet-onnx graph 1\n"
_SUFFIX = ".graph"
_MOST_BYTES = 64 << 20  # some hundred graphs; those not used for longest go


class _Header(BaseModel):
    """What an entry says of its graph, in front of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: dict[str, Any]
    weights: tuple[str, ...]
    passes: tuple[PassRecord, ...]


class GraphCache:
    """A folder of graphs; several runs may use it at once.

    Args:
        folder: made when the first graph is kept.
        note: told which graphs are used, and what is wrong with an entry or the folder; a run
            goes on without.
    """

    def __init__(
        self,
        folder: Path,
        note: Callable[[str], None] = lambda _text: None,
        *,
        most_bytes: int = _MOST_BYTES,
    ) -> None:
        self._folder, self._note, self._most = folder, note, most_bytes

    def get(self, request: GraphRequest) -> OpenGraph | None:
        """Return a graph if it is here, whole, and made by these tools and this source."""
        path = self._path(request)
        try:
            content = path.read_bytes()
            os.utime(path)  # used just now
        except FileNotFoundError:
            return None
        except OSError as error:
            self._note(f"{path}: {error.strerror}; the graph is made again")
            return None
        try:
            graph = _read(content, _key(request))
        except ValueError as error:
            self._note(f"{path}: {error}; the graph is made again")
            return None
        try:
            require_sound(graph, request)
        except Exception as error:  # protobuf, onnx, onnx-ir and ours: no common base
            self._note(
                f"{path}: holds no graph of {request.structure.name}"
                f" ({type(error).__name__}: {said(error)}); it is made again"
            )
            return None
        return graph

    def note_used(self, requests: Collection[GraphRequest]) -> None:
        """Note which graphs an export took from here, if any."""
        if requests:
            names = ", ".join(dict.fromkeys(asked.structure.name for asked in requests))
            self._note(f"graphs kept by earlier runs in {self._folder}: {names}")

    def keep(self, request: GraphRequest, graph: OpenGraph) -> None:
        """Keep a graph, and let go of the oldest ones where there are too many."""
        path = self._path(request)
        try:
            with file_errors(self._folder):
                with replacing(path) as temporary:
                    temporary.write_bytes(_written(graph, _key(request)))
                self._make_room()
        except InputError as error:
            self._note(f"the graph of {request.structure.name} is not kept: {error}")

    def _path(self, request: GraphRequest) -> Path:
        text = json.dumps(_key(request), sort_keys=True)
        return self._folder / (hashlib.sha256(text.encode()).hexdigest() + _SUFFIX)

    def _make_room(self) -> None:
        entries = []
        for path in self._folder.glob(f"*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another run made room
                entries.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._most:
                return
            path.unlink(missing_ok=True)
            total -= size


def _key(request: GraphRequest) -> dict[str, Any]:
    """Return all that decides a graph, as it reads from JSON."""
    key = {
        "request": dataclasses.asdict(request),
        "source": source_hash(),
        "tools": toolchain() | {"sympy": installed_version("sympy")[1]},
        "machine": [platform.system(), platform.machine()],
    }
    found: dict[str, Any] = json.loads(json.dumps(key))
    return found


def _written(graph: OpenGraph, key: dict[str, Any]) -> bytes:
    header = _Header(key=key, weights=graph.weights, passes=graph.passes)
    body = header.model_dump_json().encode() + b"\n" + graph.model
    return _FORMAT + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _read(content: bytes, key: dict[str, Any]) -> OpenGraph:
    """Read an entry.

    Raises:
        ValueError: it is damaged, or another graph's.
    """
    digest, _, body = content.removeprefix(_FORMAT).partition(b"\n")
    if not content.startswith(_FORMAT) or digest != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("damaged")
    text, _, model = body.partition(b"\n")
    try:
        header = _Header.model_validate_json(text)
    except ValidationError as error:
        raise ValueError("damaged") from error
    if header.key != key:
        raise ValueError("of another graph, or of other tools")
    return OpenGraph(model, header.weights, header.passes)
