"""What a form leaves in float32 because it was measured to cost too much: a TOML file.

``quantise --search`` writes it, export takes it: a table a form and transformer, such as
``[int8.coarse]``, so that what was found of several forms can stand in one file.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from .config import validated
from .errors import InputError
from .files import replacing
from .manifest import Record
from .names import FORMS, TransformerName

_HEAD = """\
# Layers that stay in float32, found by vampnet-onnx quantise; export --leave takes this file.

"""


_Share = Annotated[float, Field(ge=0, le=1, strict=True)]


class Left(Record):
    """What was found of one form of one transformer.

    Attributes:
        left: names of the weights whose products stay in float32.
        asked: the agreement that was to be kept.
        agreement: that was measured on the graph that leaves these.
        sources: sha256 of the checkpoint's files it was measured of.
        measured: on what and by what, in words.
    """

    left: list[str]
    asked: _Share
    agreement: _Share
    kl_nats: Annotated[float, Field(ge=0, strict=True)]
    sources: Annotated[list[str], Field(min_length=1)]
    measured: dict[str, str]


class _Table(Record):
    forms: dict[str, dict[TransformerName, Left]]


def read_leave(path: Path) -> dict[str, dict[str, Left]]:
    """Read what forms leave, by form and transformer.

    Raises:
        InputError: no such file, or not one of these.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from error
    unknown = [form for form in values if form not in FORMS]
    if unknown or not values or not all(values.values()):
        raise InputError(
            f"{path}: {f'{unknown[0]} is no form' if unknown else 'says nothing'}; quantise"
            " --search writes such files"
        )
    found = validated(_Table, {"forms": values}, str(path)).forms
    return {
        form: {str(n): left for n, left in tables.items()} for form, tables in found.items()
    }


def write_leave(path: Path, form: str, found: Mapping[str, Left]) -> None:
    """Write what one form leaves of each transformer: the same findings, the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    lines = [_HEAD]
    for name, left in found.items():
        lines.append(f"[{form}.{name}]\nleft = [\n")
        lines += [f"    {_text(weight)},\n" for weight in left.left]
        lines.append("]\n")
        for key in ("asked", "agreement", "kl_nats"):
            lines.append(f"{key} = {float(getattr(left, key))!r}\n")
        lines.append(f"sources = [{', '.join(map(_text, left.sources))}]\n")
        lines.append(f"\n[{form}.{name}.measured]\n")
        lines += [f"{key} = {_text(value)}\n" for key, value in left.measured.items()]
        lines.append("\n")
    with replacing(path) as temporary:
        temporary.write_bytes("".join(lines).rstrip().encode() + b"\n")


def _text(value: str) -> str:
    return json.dumps(value)
