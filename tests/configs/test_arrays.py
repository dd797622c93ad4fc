"""Files of named arrays: what NumPy writes is read, whatever else is refused by name."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vampnet_onnx.configs.arrays import ArrayFile, read_arrays
from vampnet_onnx.configs.errors import InputError


def test_what_numpy_writes_is_read_as_it_is(tmp_path: Path) -> None:
    arrays = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "empty": np.zeros((0, 3), np.float32),
        "number": np.array(7, np.uint64),
        "text": np.array("some text"),
        "zeros": np.zeros(1 << 20),
        "folder/name": np.ones(2, bool),
    }
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "x.npz", **arrays)
        found = read_arrays(tmp_path / "x.npz")
        assert list(found) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype and found[name].flags.writeable


def archive(content: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "a.npy") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        file.writestr(name, content)
    return made.getvalue()


def array(header: str | None = None, data: bytes = bytes(48)) -> bytes:
    """Return six int64 as a member, perhaps with another header."""
    text = header or "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }"
    line = (text + "\n").encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + data


def says(**changed: str) -> bytes:
    facts = {"descr": "'<i8'", "fortran_order": "False", "shape": "(2, 3)"} | changed
    return archive(
        array("{" + "".join(f"'{key}': {value}, " for key, value in facts.items()) + "}")
    )


def with_byte(data: bytes, at: int, byte: int) -> bytes:
    return data[:at] + bytes([byte]) + data[at + 1 :]


def encrypted() -> bytes:
    """Return an archive whose member is said to be encrypted, here and in its directory."""
    data = archive(array())
    directory = data.index(b"PK\x01\x02")
    return with_byte(with_byte(data, 6, 1), directory + 8, 1)


def claimed(size: int) -> bytes:
    """Return an archive whose member is said to hold so many bytes."""
    data = archive(array())
    at = data.index(b"PK\x01\x02") + 24
    return data[:at] + size.to_bytes(4, "little") + data[at + 4 :]


DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"hello", "it cannot be read (File is not a zip file)"),
    "truncated": (lambda: archive(array())[:-30], "it cannot be read"),
    "deflate stream": (lambda: with_byte(archive(array()), 40, 0xFF), "a cannot be read"),
    "checksum": (
        lambda: archive(array(), zipfile.ZIP_STORED).replace(bytes(48), bytes(47) + b"x"),
        "Bad CRC-32",
    ),
    "no array": (lambda: archive(b"some text"), "a cannot be read"),
    "empty member": (lambda: archive(b""), "a cannot be read"),
    "header no literal": (lambda: archive(array("{'descr': f(), ")), "a cannot be read"),
    "nested header": (lambda: says(shape="(" * 3000), "a cannot be read"),
    "header of version 3": (
        lambda: archive(array().replace(b"NUMPY\x01", b"NUMPY\x03")),
        "version 3.0",
    ),
    "huge shape": (lambda: says(shape=f"({1 << 60}, 3)"), "there are 48"),
    "negative shape": (lambda: says(shape="(-2, -3)"), "[-2, -3]"),
    "short": (lambda: says(shape="(2, 4)"), "would be 64 bytes, there are 48"),
    "long": (lambda: says(shape="(2, 2)"), "would be 32 bytes, there are 48"),
    "no dtype": (lambda: says(descr="'<q9'"), "a cannot be read"),
    "objects": (lambda: says(descr="'|O'"), "an array of object"),
    "fields": (lambda: says(descr="[('x', '<i8')]"), "not of numbers or text"),
    "encrypted": (encrypted, "it is encrypted"),
    "another method": (lambda: archive(array(), zipfile.ZIP_LZMA), "method 14"),
    "a bomb": (lambda: claimed(1 << 30), "which none can"),
}


@pytest.mark.parametrize(("make", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused(
    make: Callable[[], bytes], words: str, tmp_path: Path
) -> None:
    (tmp_path / "x.npz").write_bytes(make())
    with pytest.raises(InputError) as caught:
        read_arrays(tmp_path / "x.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'x.npz'}: ")
    assert words in str(caught.value) and len(str(caught.value)) < 600


def test_the_undamaged_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(says())
    np.testing.assert_array_equal(read_arrays(tmp_path / "x.npz")["a"], np.zeros((2, 3)))


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(InputError, match=r"x\.npz: b is missing"):
        ArrayFile(tmp_path / "x.npz").read("b")
    for name in ("none.npz", ".", "x" * 300):
        with pytest.raises(InputError, match=r"no such file|cannot be read"):
            ArrayFile(tmp_path / name)
