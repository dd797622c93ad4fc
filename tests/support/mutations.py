"""Sound files with something in them changed, by a seeded generator.

A byte changed at random mostly breaks a checksum or a length, and what lies behind is never
reached; so members of archives are changed and packed again, fields of messages are changed
and serialised again.
"""

from __future__ import annotations

import io
import json
import zipfile
from random import Random
from typing import Any

import onnx

_WORDS = ("", "x", "../x", "\x00", "é" * 300, "[/red]", "NaN", "1e999", "\x1b[2J")
_NUMBERS = (0, 1, -1, 2, 7, 255, 1 << 20, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63))
_FLOATS = (0.0, -1.0, 0.5, 1e30, 1e300, float("inf"), float("-inf"), float("nan"))


def mutated_bytes(random: Random, data: bytes) -> bytes:
    """Change, cut out, double or drop some bytes."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 4, 30))):
        at = random.randrange(len(found) or 1)
        size = random.choice((1, 1, 2, 8, 200))
        kind = random.randrange(5)
        if kind == 0:
            found[at : at + 1] = bytes([random.randrange(256)])
        elif kind == 1:
            del found[at : at + size]
        elif kind == 2:
            found[at:at] = found[at : at + size]
        elif kind == 3:
            found[at : at + size] = random.randbytes(size)
        else:
            del found[at:]
    return bytes(found)


def mutated_archive(random: Random, data: bytes) -> bytes:
    """Change a member of a zip archive; its checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = random.choice(list(members))
    kind = random.randrange(6)
    if kind == 0:
        members[random.choice((name + "x", "x.npy", name.removesuffix(".npy")))] = members.pop(
            name
        )
    elif kind == 1:
        del members[name]
    elif kind == 2:
        members[name] = members[random.choice(list(members))]
    elif kind == 3:  # the header of an array
        content = members[name]
        members[name] = mutated_bytes(random, content[:128]) + content[128:]
    elif kind == 4:
        content = members[name]
        words = ((b"<i8", b"<f8"), (b"<i8", b"|O8"), (b"False", b"True "), (b"(1,", b"(9,"))
        words += ((b"<i8", b">i8"), (b"'shape': (", b"'shape': (-"), (b"(", b"(((" * 200))
        old, new = random.choice(words)
        members[name] = content.replace(old, new, 1)
    else:
        members[name] = mutated_bytes(random, members[name])
    made = io.BytesIO()
    with zipfile.ZipFile(
        made, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as z:
        for member, content in members.items():
            z.writestr(member, content)
    return made.getvalue()


def mutated_json(random: Random, text: str) -> str:
    """Drop a key or an item somewhere, or put another value in its place."""
    value = json.loads(text)
    holder, key = value, random.choice(list(value))
    while holder[key] and isinstance(holder[key], (dict, list)) and random.random() < 0.8:
        holder = holder[key]
        key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    if random.random() < 0.3:
        del holder[key]
    else:
        odd = [None, True, [], {}, [[]], *_WORDS, *_NUMBERS, *_FLOATS, 10**400, value]
        holder[key] = json.loads(json.dumps(random.choice(odd)))
    return json.dumps(value)


def mutated_model(random: Random, data: bytes) -> bytes:
    """Change fields of an ONNX model: parsed, changed, serialised."""
    model = onnx.ModelProto.FromString(data)
    if random.random() < 0.1:  # a name that is no UTF-8, which no field can be set to
        graph = model.graph
        name = random.choice(
            [*graph.initializer, *graph.node, *graph.input, *model.metadata_props]
        )
        text = (name.key if hasattr(name, "key") else name.name).encode()
        return data.replace(text, b"\xff" + text[1:], random.choice((1, -1)))
    for _ in range(random.choice((1, 1, 1, 3))):
        _mutate(random, model)
    return model.SerializeToString()


def _mutate(random: Random, message: Any) -> None:
    """Go down into a message and change one field, more often a deep one."""
    held = [field for field, _ in message.ListFields()]
    inner = [field for field in held if field.message_type is not None]
    if inner and random.random() < 0.8:
        value = getattr(message, random.choice(inner).name)
        _mutate(random, random.choice(value) if _repeated(value) else value)
        return
    some = held if held and random.random() < 0.8 else message.DESCRIPTOR.fields
    field = random.choice(some)
    value = getattr(message, field.name)
    if field.message_type is not None and _repeated(value):
        kind = random.randrange(3)
        if not value:
            value.add()
        elif kind == 0:
            del value[random.randrange(len(value))]
        else:
            value.add().CopyFrom(random.choice(value))
    elif field.message_type is not None or (not _repeated(value) and random.random() < 0.2):
        message.ClearField(field.name)
    elif not _repeated(value):
        _set(random, message, field)
    elif not value:
        value.append(_odd(random, field, None))
    elif random.random() < 0.3:
        del value[random.randrange(len(value))]
    else:
        value[random.randrange(len(value))] = _odd(random, field, random.choice(value))


def _repeated(value: object) -> bool:
    return hasattr(value, "extend")


def _set(random: Random, message: Any, field: Any) -> None:
    old = getattr(message, field.name)
    try:
        setattr(message, field.name, _odd(random, field, old))
    except (TypeError, ValueError):  # a number that this field cannot hold
        message.ClearField(field.name)


def _odd(random: Random, field: Any, old: Any) -> Any:
    kind = field.cpp_type
    if kind == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return mutated_bytes(random, bytes(old or b""))
        return random.choice((*_WORDS, str(old or "") + "x"))
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return random.choice(_FLOATS)
    if kind in (field.CPPTYPE_ENUM, field.CPPTYPE_INT32, field.CPPTYPE_UINT32):
        return random.choice((0, 1, 2, 3, 7, 9, 16, 21))
    if kind == field.CPPTYPE_UINT64:
        return random.choice([n for n in _NUMBERS if n >= 0])
    return random.choice(_NUMBERS)
