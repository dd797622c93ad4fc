"""Writing checkpoint files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import torch

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def save_checkpoint(content: object, path: Path) -> None:
    """Save as `torch.save`, which hides why it could not write behind an error of its own.

    Raises:
        OSError: what the operating system said.
    """
    with path.open("wb") as stream:
        noting = _NotingStream(stream)
        try:
            torch.save(content, cast(IO[bytes], noting))
        except RuntimeError:
            if noting.error is not None:
                raise noting.error from None
            raise


class _NotingStream(io.RawIOBase):
    """Passes writes on and keeps the first error of the operating system."""

    def __init__(self, stream: BinaryIO) -> None:
        self.error: OSError | None = None
        self._stream = stream

    def write(self, data: ReadableBuffer) -> int:
        try:
            return self._stream.write(data)
        except OSError as error:
            self.error = self.error or error
            raise
