"""Files of named arrays (``.npz``), read as what a stranger may have sent.

NumPy's own reader believes a file: it makes room for whatever shape a header claims, and what
it raises of a damaged one has no common base.  Here a member is read only once its header and
the size of what follows agree.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from .errors import InputError, said
from .files import is_there

_SUFFIX = ".npy"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those that NumPy writes
_MOST_DEFLATED = 1032  # times that deflate can make anything smaller
_ENCRYPTED = 1  # flag of a member


class ArrayFile:
    """An opened file; arrays are read when asked for.

    Attributes:
        names: of its arrays, in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            InputError: there is none, or it is no archive.
        """
        if not (is_there(path) and path.is_file()):
            raise InputError(f"{path}: no such file of arrays")
        self.path = path
        with self._refusing("it"):
            self._archive = zipfile.ZipFile(path)
        self._members = {
            info.filename.removesuffix(_SUFFIX): info for info in self._archive.infolist()
        }
        self.names = list(self._members)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def read(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises:
            InputError: it is not there, damaged, no array, or one of Python objects.
        """
        if name not in self._members:
            raise InputError(f"{self.path}: {name} is missing")
        info = self._members[name]
        with self._refusing(name):
            _require_plain(info)
            with self._archive.open(info) as stream:
                _require_whole(stream, info.file_size)
            with self._archive.open(info) as stream:
                found: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        return found

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """Turn whatever a damaged file makes the libraries raise into one message."""
        try:
            yield
        except MemoryError as error:
            raise InputError(f"{self.path}: {what} does not fit in memory") from error
        except Exception as error:  # zipfile, zlib, tokenize, ast: no common base
            raise InputError(f"{self.path}: {what} cannot be read ({said(error)})") from error


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return every array of a file by name.

    Raises:
        InputError: as `ArrayFile`.
    """
    with closing(ArrayFile(path)) as file:
        return {name: file.read(name) for name in file.names}


def _require_plain(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise ValueError("it is encrypted")
    if info.compress_type not in _METHODS:
        raise ValueError(f"it is compressed by method {info.compress_type}, not deflated")
    if info.file_size > _MOST_DEFLATED * info.compress_size:
        raise ValueError(
            f"{info.compress_size} bytes are said to hold {info.file_size}, which none can"
        )


def _require_whole(stream: IO[bytes], size: int) -> None:
    """Refuse a header that does not say what follows it."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = npy.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = npy.read_array_header_2_0(stream)
    else:
        raise ValueError(f"an array in version {version[0]}.{version[1]} of the format")
    if dtype.hasobject or dtype.fields is not None or not dtype.itemsize:
        raise ValueError(f"an array of {dtype}, not of numbers or text")
    wanted, found = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if min(shape, default=0) < 0 or wanted != found:
        raise ValueError(
            f"{list(shape)} of {dtype} would be {wanted} bytes, there are {found}"
        )
