"""Graphs on disk: written weight by weight, read as what a stranger may have sent.

ONNX's own writers build the whole protobuf message and then its bytes, three copies of the
weights in all; a gigabyte of weights then needs seven of memory.  This one writes the message
piece by piece, in the field order protobuf itself uses, so the file is byte for byte what
``ModelProto.SerializeToString`` would give.
"""

import io
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
import onnx_ir as ir

from vampnet_onnx.configs.errors import InputError, said
from vampnet_onnx.configs.external_data import require_own_data
from vampnet_onnx.configs.files import is_there
from vampnet_onnx.configs.manifest import ComponentRecord, FileRecord

from .passes.base import PassError
from .quiet import quiet

# ONNX Runtime maps external data instead of reading and parsing it: from here on that is a
# second less of loading.
EXTERNAL_FROM_BYTES = 1_000_000_000

# The most that goes into a file with its graph: a protobuf message cannot exceed 2 GiB.
ONE_FILE_BYTES = 1_500_000_000

# Constants of shapes and axes stay in the graph, where shape inference can read them.
_INLINE_BELOW_BYTES = 1024

_LENGTH_DELIMITED = 2
_MODEL_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_GRAPH_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_TENSOR_RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER


def save_graph(
    model: ir.Model, path: Path, *, external: bool = False
) -> tuple[FileRecord, FileRecord | None]:
    """Write a model.

    Args:
        model: left as it is.
        path: of the graph; external data goes beside it with ``.data`` appended.
        external: put the weights in a file of their own; done unasked from 1 GB on.

    Returns:
        Name, digest and size of the graph, and of its external data if there is any.
    """
    weights = sum(
        v.const_value.nbytes
        for v in model.graph.initializers.values()
        if v.const_value is not None
    )
    if external or weights >= EXTERNAL_FROM_BYTES:
        data = path.with_name(path.name + ".data")
        ir.save(model, path, external_data=data.name, size_threshold_bytes=_INLINE_BELOW_BYTES)
        return FileRecord.of(path), FileRecord.of(data)
    save_whole(model, path)
    return FileRecord.of(path), None


def save_beside(model: ir.Model, path: Path, other: Path) -> FileRecord:
    """Write a model whose weights lie in the external data of another file already.

    Args:
        model: left as it is but for its weights, which now are those of that data.
        path: of the graph, in the folder of the other one.
        other: a graph with external data, with the same weights under the same names.

    Returns:
        Name, digest and size of the graph.

    Raises:
        PassError: a weight is not there, or there as another shape.
    """
    found = read_graph(other).graph.initializers
    for name, value in model.graph.initializers.items():
        held, own = (_tensor(item) for item in (found.get(name, value), value))
        if isinstance(held, ir.ExternalTensor):
            if (held.shape, held.dtype) != (own.shape, own.dtype):
                raise PassError(f"{name} is another weight in {other.name}")
            value.const_value = held
        elif own.nbytes >= _INLINE_BELOW_BYTES:
            raise PassError(f"{other.name} has no weight {name} to share")
    with _quiet_ir():
        path.write_bytes(ir.to_proto(model).SerializeToString())
    return FileRecord.of(path)


def save_whole(model: ir.Model, path: Path) -> None:
    """Write a model, its weights in the same file; they are below `ONE_FILE_BYTES`."""
    with path.open("wb") as stream:
        _write_model(model, stream)


def read_graph(path: Path) -> ir.Model:
    """Read a model and make sure that all of it is there.

    Raises:
        InputError: no such file, no ONNX model, one that gives a name twice, or one that
            names a tensor whose data is missing, of another size than it says, or outside of
            the file's folder.
    """
    if not (is_there(path) and path.is_file()):
        raise InputError(f"{path}: no such ONNX file")
    try:
        with _quiet_ir():
            proto = onnx.load(path, format="protobuf", load_external_data=False)
            _require_text(proto)
            _require_one_maker(proto.graph)
            model = ir.from_proto(proto)
        _require_wired(model.graph)
        ir.external_data.set_base_dir(model.graph, path.parent)
        for tensor in _tensors(model.graph):
            _require_whole(tensor)
    except Exception as error:  # protobuf, onnx-ir and NumPy: no common base
        raise InputError(
            f"{path}: not an ONNX model that can be read ({type(error).__name__}:"
            f" {said(error)}); export again"
        ) from error
    return model


def read_component(record: ComponentRecord, path: Path) -> ir.Model:
    """Read a component's file, with no data but what its record vouches for.

    Raises:
        InputError: as `read_graph` or `require_own_data` does.
    """
    model = read_graph(path)
    require_own_data(record, path)
    return model


def _quiet_ir() -> AbstractContextManager[None]:
    """Keep onnx-ir from printing what it goes on over; the checks here refuse what matters."""
    return quiet("onnx_ir", logging.CRITICAL)


def _require_text(message: Any) -> None:
    """Refuse names that are no UTF-8, which protobuf hands on as bytes."""
    for field, value in message.ListFields():
        many = value if hasattr(value, "extend") else [value]
        for item in many if field.message_type else ():
            _require_text(item)
        if field.type == field.TYPE_STRING and any(isinstance(item, bytes) for item in many):
            raise ValueError(f"a {field.name} of {message.DESCRIPTOR.name} is no UTF-8")


def _require_one_maker(graph: onnx.GraphProto) -> None:
    """Refuse a name that is given twice, and an attribute without a type.

    ONNX Runtime and onnx-ir read different ones of two, and onnx-ir writes no untyped one.

    onnx-ir keeps one and drops the other, so this looks at the message itself.
    """
    weights = [item.name for item in graph.initializer]
    weights += [item.values.name for item in graph.sparse_initializer]
    made = [name for node in graph.node for name in node.output if name]
    for name, count in Counter(weights + made).items():
        if count > 1:
            by = ["a weight"] * weights.count(name) + ["a node"] * made.count(name)
            raise ValueError(f"{name!r} is given by {' and by '.join(by)}")
    for attribute in (item for node in graph.node for item in node.attribute):
        if not attribute.type:
            raise ValueError(f"the attribute {attribute.name!r} has no type")
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ())):
            _require_one_maker(inner)


def _require_wired(graph: ir.Graph) -> None:
    """Refuse nodes and outputs that take what nothing gives."""
    taken = [value for node in graph.all_nodes() for value in node.inputs]
    for value in (*taken, *graph.outputs):
        if not (
            value is None
            or value.producer() is not None
            or value.is_graph_input()
            or value.is_initializer()
        ):
            raise ValueError(f"nothing makes {value.name!r}")


def _tensors(graph: ir.Graph) -> Iterator[ir.TensorProtocol]:
    """Yield every tensor that a graph and the graphs inside of it hold."""
    for value in graph.initializers.values():
        if value.const_value is not None:
            yield value.const_value
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.TENSOR:
                yield attribute.as_tensor()
            elif attribute.type is ir.AttributeType.GRAPH:
                yield from _tensors(attribute.as_graph())


def _require_whole(tensor: ir.TensorProtocol) -> None:
    """Refuse a tensor whose data is not of the size that its shape and type ask for."""
    shape = tuple(tensor.shape.numpy())
    if min(shape, default=0) < 0:
        raise ValueError(f"tensor {tensor.name} is of shape {list(shape)}")
    if not isinstance(tensor, ir.ExternalTensor):
        found = tensor.numpy().shape
        if found != shape:
            raise ValueError(f"tensor {tensor.name} is {list(found)}, not {list(shape)}")
        return
    folder, data = Path(tensor.base_dir).resolve(), Path(tensor.path).resolve()
    if not data.is_relative_to(folder) or not data.is_file():
        raise ValueError(f"the data of {tensor.name} is no file beside it ({tensor.location})")
    offset, length, wanted = tensor.offset or 0, tensor.length, tensor.nbytes
    left = data.stat().st_size - offset
    if offset < 0 or length not in (None, wanted) or left < wanted:
        raise ValueError(
            f"tensor {tensor.name} needs {wanted} bytes; {data.name} has {left} from"
            f" {offset} on, of which {length} are its own"
        )


def graph_bytes(model: ir.Model) -> bytes:
    """Return a model as the bytes of its file, below protobuf's limit; it is left as it is."""
    stream = io.BytesIO()
    _write_model(model, stream)
    return stream.getvalue()


def _write_model(model: ir.Model, stream: BinaryIO) -> None:
    held = dict(model.graph.initializers)
    model.graph.initializers.clear()
    try:
        with _quiet_ir():
            message = ir.to_proto(model)
    finally:
        model.graph.initializers.update(held)
    before_graph, after_graph = _split_at(message, _MODEL_GRAPH)
    before_weights, after_weights = _split_at(message.graph, _GRAPH_INITIALIZER)
    weights = [(_tensor_header(value), value) for value in held.values()]
    size = len(before_weights) + len(after_weights)
    size += sum(len(header) + _tensor(value).nbytes for header, value in weights)
    stream.writelines([before_graph, _prefix(_MODEL_GRAPH, size), before_weights])
    for header, value in weights:
        stream.write(header)
        stream.write(_tensor_data(value))
    stream.writelines([after_weights, after_graph])


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    if value.const_value is None:
        raise ValueError(f"weight {value.name} has no value")
    return value.const_value


def _tensor_header(value: ir.Value) -> bytes:
    """Return a weight's bytes in the graph up to its data."""
    tensor = _tensor(value)
    header: bytes = onnx.TensorProto(
        dims=tensor.shape.numpy(), data_type=tensor.dtype.value, name=value.name
    ).SerializeToString()
    header += _prefix(_TENSOR_RAW_DATA, tensor.nbytes)
    return _prefix(_GRAPH_INITIALIZER, len(header) + tensor.nbytes) + header


def _tensor_data(value: ir.Value) -> memoryview:
    """Return a weight's data; what is computed is computed now."""
    array = _tensor(value).numpy()
    if array.dtype.byteorder == ">":
        raise ValueError(f"weight {value.name} is big-endian")
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    if len(data) != _tensor(value).nbytes:
        raise ValueError(f"weight {value.name} is not of the size that it says")
    return data


def _split_at(message: onnx.ModelProto | onnx.GraphProto, field: int) -> tuple[bytes, bytes]:
    """Return the serialised fields before and after a field number, the field left out."""
    before, after = type(message)(), type(message)()
    before.CopyFrom(message)
    after.CopyFrom(message)
    for descriptor, _ in message.ListFields():
        if descriptor.number >= field:
            before.ClearField(descriptor.name)
        if descriptor.number <= field:
            after.ClearField(descriptor.name)
    return before.SerializeToString(), after.SerializeToString()


def _prefix(field: int, size: int) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED) + _varint(size)


def _varint(value: int) -> bytes:
    """Encode as protobuf does: seven bits a byte, lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
