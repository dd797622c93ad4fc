"""Which files a graph takes weights from, without reading the weights or needing onnx.

A graph on disk is a protobuf message; this looks at the few of its fields that lead to a
tensor (by ONNX's onnx.proto) and skips the rest, so a gigabyte of weights costs nothing.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError
from .manifest import MANIFEST_NAME, ComponentRecord

# Message by message, the fields that are messages on the way to a tensor's external data.
_INSIDE = {
    "ModelProto": {7: "GraphProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **{5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto"},
        **{22: "SparseTensorProto", 23: "SparseTensorProto"},
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
_TENSOR_NAME, _TENSOR_EXTERNAL_DATA = 8, 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5


def require_own_data(record: ComponentRecord, path: Path) -> None:
    """Refuse a graph that takes weights from a file that its record does not list.

    Nobody checks the hash of such a file: with it the numbers may change later.

    Raises:
        InputError: naming the file; or the graph's own file cannot be read.
    """
    own = record.data.name if record.data is not None else None
    try:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole,
        ):
            found = list(_external(whole))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not an ONNX model that can be read ({error}); export again"
        ) from error
    for tensor, location in found:
        if location != own:
            raise InputError(
                f"{path}: takes {tensor} from {location!r}, but {MANIFEST_NAME} lists"
                f" {own or 'no file'} as its data; export again"
            )


def _external(model: mmap.mmap) -> Iterator[tuple[str, str]]:
    """Yield name and location of every tensor whose data is in another file."""
    ahead = [("ModelProto", 0, len(model))]
    while ahead:
        message, start, end = ahead.pop()
        if message == "TensorProto":
            yield from _of_tensor(model, start, end)
            continue
        for field, first, last in _fields(model, start, end):
            inner = _INSIDE[message].get(field)
            if inner is not None:
                ahead.append((inner, first, last))


def _of_tensor(model: mmap.mmap, start: int, end: int) -> Iterator[tuple[str, str]]:
    name, locations = "", list[str]()
    for field, first, last in _fields(model, start, end):
        if field == _TENSOR_NAME:
            name = _text(model, first, last)
        elif field == _TENSOR_EXTERNAL_DATA:
            entry = {key: _text(model, *span) for key, *span in _fields(model, first, last)}
            if entry.get(_ENTRY_KEY) == "location":
                locations.append(entry.get(_ENTRY_VALUE, ""))
    for location in locations:
        yield name, location


def _fields(model: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of the length-delimited fields of a message."""
    while at < end:
        tag, at = _number(model, at, end)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _number(model, at, end)
        elif kind == _LENGTH_DELIMITED:
            size, at = _number(model, at, end)
            yield tag >> 3, at, at + size
            at += size
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of wire type {kind} at byte {at}")
    if at > end:
        raise ValueError(f"a field that ends after its message, at byte {end}")


def _number(model: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return a number in protobuf's variable length, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = model[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"a number without an end at byte {at}")


def _text(model: mmap.mmap, start: int, end: int) -> str:
    return model[start:end].decode("utf-8", "backslashreplace")
