"""Lengths in the headers of WAV files that are not those of the files.

A program that writes to a pipe cannot go back to the header once it knows the length.  It
leaves 0 there, or a number as large as it dares: 0x7FFFF000 (sox), 0x80000000 (arecord),
0xFFFFFFFF (ffmpeg).  Such a file is read to its end.  Other programs count bytes of the header
or of a last, partial block; then what is there is read, and somebody should be told.

    RIFF <length - 8> WAVE  [ds64 <64-bit lengths>]  fmt ... [other chunks]  data <length> ...

Source: IBM and Microsoft, "Multimedia Programming Interface and Data Specifications 1.0"; EBU
Tech 3306 for ``RF64``.
"""

from dataclasses import dataclass
from io import SEEK_END, SEEK_SET
from typing import BinaryIO, Literal

from vampnet_onnx.configs.errors import InputError

_Order = Literal["little", "big"]

# What is left where the length was not known, less what some programs take off for headers.
_UNKNOWN = (range(0x7FFF0000, 0x80010000), range(0xFFFF0000, 1 << 32))
_UNKNOWN_64 = (0, (1 << 63) - 1, (1 << 64) - 1)
_LITTLE = 4096  # bytes, less than a block of a disk
_MOST_CHUNKS = 1000
_ORDERS: dict[bytes, _Order] = {b"RIFF": "little", b"RIFX": "big", b"RF64": "little"}
_DS64_DATA = 8  # where the 64-bit length of the data stands in its chunk, after the file's


@dataclass(frozen=True)
class Mended:
    """What to read instead of some bytes of a file.

    Attributes:
        patches: bytes by offset.
        note: what somebody should be told; empty where nothing is lost.
    """

    patches: dict[int, bytes]
    note: str = ""


@dataclass(frozen=True)
class _Lengths:
    """Where lengths stand in a file, as (offset, bytes), and what they say."""

    file: tuple[int, int]
    data: tuple[int, int]
    promised: int  # bytes of audio
    start: int  # offset of the audio


def mended(stream: BinaryIO) -> Mended | None:
    """Return what to read instead of the lengths in a WAV file's header.

    Returns:
        None where they are right, or the file is none that this knows.

    Raises:
        InputError: much of the promised audio is missing.
    """
    stream.seek(0, SEEK_END)
    size = stream.tell()
    stream.seek(0)
    form = stream.read(4)
    order = _ORDERS.get(form)
    if order is None:
        return None
    stated = int.from_bytes(stream.read(4), order)
    if stream.read(4) != b"WAVE":
        return None
    found = _lengths(stream, order, wide=form == b"RF64")
    if found is None:
        return None
    held = size - found.start
    # Without audio the file's own length tells whether that is what was meant.
    unknown = _is_unknown(found) if found.promised else stated != size - 8
    if found.promised <= held and not (unknown and not found.promised and held):
        return None
    note = ""
    if not unknown:
        note = f"promises {found.promised} bytes of audio and holds {held}"
        if found.promised - held > _LITTLE:
            raise InputError(
                f"{note}; it is damaged or was cut off, make it again from its source"
            )
    patches = {}
    for (offset, width), value in ((found.file, size - 8), (found.data, held)):
        if value >= 1 << (8 * width):
            raise InputError(
                f"holds {value} bytes, more than its header can say, as a WAV file that was"
                " written to a pipe; make it again as FLAC"
            )
        patches[offset] = value.to_bytes(width, order)
    return Mended(patches, note)


def _is_unknown(found: _Lengths) -> bool:
    if found.data[1] == 8:
        return found.promised in _UNKNOWN_64
    return any(found.promised in values for values in _UNKNOWN)


def _lengths(stream: BinaryIO, order: _Order, *, wide: bool) -> _Lengths | None:
    """Walk the chunks of a file up to its audio; None if there is none."""
    large: tuple[int, int] | None = None  # offset and value of the 64-bit length
    for _ in range(_MOST_CHUNKS):
        name, length = stream.read(4), int.from_bytes(stream.read(4), order)
        start = stream.tell()
        if len(name) < 4:
            return None
        if name == b"data":
            if wide and large is not None and length == (1 << 32) - 1:
                offset, promised = large
                return _Lengths((offset - 8, 8), (offset, 8), promised, start)
            return _Lengths((4, 4), (start - 4, 4), length, start)
        if wide and name == b"ds64":
            stream.seek(_DS64_DATA, 1)
            large = start + _DS64_DATA, int.from_bytes(stream.read(8), order)
        stream.seek(start + length + length % 2)
    return None


class Patched:
    """A file with some bytes replaced, as libsndfile reads it."""

    def __init__(self, stream: BinaryIO, patches: dict[int, bytes]) -> None:
        """Take an open file and what stands there instead, by offset."""
        self._stream = stream
        self._patches = patches
        stream.seek(0)

    def read(self, count: int = -1) -> bytes:
        """Return up to so many bytes, all that are left for -1."""
        start = self._stream.tell()
        data = bytearray(self._stream.read(count))
        for offset, patch in self._patches.items():
            for place, byte in enumerate(patch, offset - start):
                if 0 <= place < len(data):
                    data[place] = byte
        return bytes(data)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Move to an offset, as files do."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the offset of what is read next."""
        return self._stream.tell()
