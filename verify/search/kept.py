"""Measurements kept from one run to the next, so that an interrupted search goes on.

A file holds all that its measurements depend on and its own digest: what is damaged, or was
measured of anything else, is not used.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, replacing
from vampnet_onnx.configs.manifest import Record

from .measure import Cost

_SUFFIX = ".measured"
# Of ours, beside what makes a form: what measures.
_SOURCES = {"verify.search": ("cases.py", "measure.py"), "verify.numbers": ("metrics.py",)}


class _File(Record):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    key: dict[str, str]
    costs: dict[str, tuple[float, float]]


class Kept:
    """Measurements of one form of one transformer.

    Args:
        folder: where they are kept; None keeps none and uses none.
        key: all that they depend on.
        note: told what is wrong with the file, which is made anew then.
    """

    def __init__(
        self, folder: Path | None, key: Mapping[str, str], note: Callable[[str], None]
    ) -> None:
        self._key, self._note = {**key, "measured by": source()}, note
        name = hashlib.sha256(_text(self._key).encode()).hexdigest()
        self._path = None if folder is None else folder / (name + _SUFFIX)
        self._costs = self._read()

    def of(self, name: str, measure: Callable[[], Cost]) -> Cost:
        """Return what was measured under a name, by an earlier run or now."""
        if name not in self._costs:
            self._costs[name] = measure()
            self._write()
        return self._costs[name]

    def _read(self) -> dict[str, Cost]:
        if self._path is None or not is_there(self._path):
            return {}
        try:
            digest, _, body = self._path.read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("damaged")
            found = TypeAdapter(_File).validate_json(body)
            if found.key != self._key:
                raise ValueError("of something else")
        except (ValidationError, ValueError, OSError) as error:
            damaged = isinstance(error, ValidationError | OSError)
            why = "damaged" if damaged else str(error)
            self._note(f"{self._path}: {why}; it is measured again")
            return {}
        return {name: Cost(*values) for name, values in found.costs.items()}

    def _write(self) -> None:
        if self._path is None:
            return
        costs = {n: (c.agreement, c.kl_nats) for n, c in sorted(self._costs.items())}
        body = _File(key=self._key, costs=costs).model_dump_json().encode()
        try:
            with replacing(self._path) as temporary:
                temporary.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        except InputError as error:
            self._note(f"measurements are not kept: {error}")
            self._path = None


def source() -> str:
    """Return the digest of our source that measures, hex."""
    digest = hashlib.sha256()
    for room, files in _SOURCES.items():
        for name in files:
            place = resources.files(f"vampnet_onnx.{room}").joinpath(name)
            digest.update(place.read_bytes())
    return digest.hexdigest()


def _text(key: Mapping[str, str]) -> str:
    return json.dumps(key, sort_keys=True)
