"""Reading and writing WAV, FLAC and OGG files, through libsndfile."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import replacing
from vampnet_onnx.pipeline.steps.noise import Floats
from vampnet_onnx.pipeline.version.components import Codec

# Format and encoding by suffix: 24 bits are finer than what float32 networks can tell apart.
_WRITTEN = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".ogg": ("OGG", "VORBIS"),
}
_BLOCK = 1 << 14  # frames; libsndfile's Vorbis encoder overflows its stack on large writes
_READ = 1 << 20  # frames read at a time
_MOST_CHANNELS = 2
# What libsndfile notes where the header and the length of a WAV file differ, without an error.
_CUT_OFF = re.compile(r"^data *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 0xFFFFFFFF  # written by programs that do not know how much is to come
_FULL_SCALE = 1 - 2.0**-14
# Mastered music touches full scale in less than 1 % of its samples; a sine wave that is 1 %
# too loud does in 9 %.
_MOST_CLIPPED = 0.05


@dataclass(frozen=True)
class AudioFile:
    """An audio file that can be read."""

    path: Path
    sample_rate: int  # Hz
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples / self.sample_rate

    def blocks(self) -> Iterator[Floats]:
        """Read it, in float32 [channels, up to a million] pieces.

        Raises:
            InputError: it ends early, is damaged, or holds NaN or infinite samples.
        """
        seen = 0
        with _opened(self.path) as file:
            for block in file.blocks(_READ, dtype="float32", always_2d=True):
                if not np.isfinite(block).all():
                    raise InputError(
                        f"{self.path}: holds NaN or infinite samples; repair the file first"
                    )
                seen += len(block)
                yield np.ascontiguousarray(block.T)
        if seen != self.samples:
            raise InputError(
                f"{self.path}: promises {self.samples} samples and holds {seen}; it is damaged"
                " or was cut off, make it again from its source"
            )

    def read(self) -> Floats:
        """Read it whole, float32 [channels, samples]; errors as `blocks`."""
        return np.concatenate(list(self.blocks()), axis=1)


def open_audio(path: Path) -> AudioFile:
    """Look at an audio file.

    Raises:
        InputError: there is none, it is no audio file, or it is empty.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such audio file")
    with _opened(path) as file:
        found = AudioFile(path, file.samplerate, file.channels, file.frames)
        promised = _CUT_OFF.search(file.extra_info)
    if promised and int(promised[1]) != _UNKNOWN_LENGTH:
        raise InputError(
            f"{path}: promises {promised[1]} bytes of audio and holds {promised[2]}; it is"
            " damaged or was cut off, make it again from its source"
        )
    if found.samples < 1:
        raise InputError(f"{path}: holds no samples; there is nothing to work on")
    return found


def require_usable(file: AudioFile, codec: Codec, *, allow_clipped: bool) -> None:
    """Refuse audio of which nothing sensible can be made, before any work is spent on it.

    Raises:
        InputError: too many channels, shorter than a frame, silent, clipped, or damaged.
    """
    if file.channels > _MOST_CHANNELS:
        raise InputError(
            f"{file.path}: has {file.channels} channels; mono and stereo are supported, mix it"
            f" down first (sox {file.path.name} out.wav channels 2)"
        )
    if file.samples * codec.sample_rate < codec.hop_length * file.sample_rate:
        raise InputError(
            f"{file.path}: lasts {file.seconds * 1000:.3g} ms, {file.samples} samples; the"
            f" codec needs one frame at least, {codec.seconds_of(1) * 1000:.3g} ms"
        )
    full = peak = 0.0
    for block in file.blocks():
        size = np.abs(block)
        peak = max(peak, float(size.max()))
        full += np.count_nonzero(size >= _FULL_SCALE)
    share = full / (file.samples * file.channels)
    if peak == 0:
        raise InputError(f"{file.path}: is silent, every sample is 0; nothing to vary")
    if share > _MOST_CLIPPED and not allow_clipped:
        raise InputError(
            f"{file.path}: is clipped, {share:.0%} of its samples are at full scale; make it"
            " again with less gain, or go on with --allow-clipped"
        )


def require_writable(path: Path) -> None:
    """Refuse an output path early.

    Raises:
        InputError: its suffix stands for no format that can be written.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a file without a suffix'}; name it"
            f" {', '.join(_WRITTEN)}"
        )


def write_audio(path: Path, stream: Iterable[Floats], sample_rate: int) -> None:
    """Write audio of a rate in Hz; a stopped run leaves the whole file or none.

    Args:
        path: its suffix says the format: ``.wav`` and ``.flac`` of 24 bits, ``.ogg`` Vorbis.
        stream: float32 [channels, n] pieces within [-1, 1].

    Raises:
        InputError: the suffix is unknown, or the file cannot be written.
    """
    require_writable(path)
    form, encoding = _WRITTEN[path.suffix.lower()]
    pieces = iter(stream)
    first = next(pieces)
    with replacing(path) as temporary:
        try:
            with soundfile.SoundFile(
                temporary,
                "w",
                samplerate=sample_rate,
                channels=len(first),
                format=form,
                subtype=encoding,
            ) as file:
                for piece in chain([first], pieces):
                    for start in range(0, piece.shape[1], _BLOCK):
                        file.write(piece[:, start : start + _BLOCK].T)
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"{path}: cannot be written ({error}); is the disk full?"
            ) from error


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(path) as file:
            yield file
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read as audio ({error}); WAV, FLAC and OGG are supported,"
            " a damaged file has to be made again from its source"
        ) from error
