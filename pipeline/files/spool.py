"""Audio that is computed once and read several times, in a file that nobody sees."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile, gettempdir

import numpy as np

from vampnet_onnx.configs.files import file_errors
from vampnet_onnx.pipeline.steps.noise import Floats

_READ = 1 << 18  # samples a channel


@contextmanager
def spooled(
    stream: Iterable[Floats], channels: int
) -> Iterator[Callable[[], Iterator[Floats]]]:
    """Keep a stream, float32 [channels, n] pieces, and give what reads it again.

    Raises:
        InputError: there is no room for it.
    """
    with ExitStack() as opened:
        with file_errors(place := Path(gettempdir())):
            file = opened.enter_context(TemporaryFile(buffering=0))
        for piece in stream:
            left = memoryview(piece.T.tobytes())
            while left:
                with file_errors(place):
                    left = left[file.write(left) :]

        def read() -> Iterator[Floats]:
            at = 0
            while True:
                file.seek(at)  # another reading may be under way
                data = file.read(_READ * channels * 4)
                if not data:
                    return
                at += len(data)
                yield np.frombuffer(data, np.float32).reshape(-1, channels).T

        yield read
