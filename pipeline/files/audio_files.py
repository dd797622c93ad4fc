"""Reading and writing WAV, FLAC and OGG files, through libsndfile."""

import math
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import replacing, require_place
from vampnet_onnx.configs.text import path_word, quoted
from vampnet_onnx.pipeline.steps.noise import Floats
from vampnet_onnx.pipeline.version.components import Codec

from .wav_header import Mended, Patched, mended

# Format and encoding by suffix: 24 bits are finer than what float32 networks can tell apart.
_WRITTEN = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".ogg": ("OGG", "VORBIS"),
}
_BLOCK = 1 << 14  # frames; libsndfile's Vorbis encoder overflows its stack on large writes
_READ = 1 << 20  # frames read at a time
_MOST_CHANNELS = 2
_FULL_SCALE = 1 - 2.0**-14
# Mastered music touches full scale in less than 1 % of its samples; a sine wave that is 1 %
# too loud does in 9 %.
_MOST_CLIPPED = 0.05
# One step of 16 bits is -90.3 dBFS: what is below is the noise of an empty recording.
_SILENT_DBFS = -90.0
_LOUDEST_DBFS = 120.0  # float files hold more, and mean nothing by it
# Of the mix against its channels. Unrelated channels lose 3 dB; what loses 40 is one channel
# and its inverse, of which the mix keeps the faults.
_CANCELLED_DB = -40.0


@dataclass(frozen=True)
class AudioFile:
    """An audio file that can be read."""

    path: Path
    name: str  # what messages call it
    sample_rate: int  # Hz
    channels: int
    samples: int
    note: str = ""  # what somebody should be told of it

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
        with _opened(self.path, self.name) as (file, _):
            for block in file.blocks(_READ, dtype="float32", always_2d=True):
                if not np.isfinite(block).all():
                    raise InputError(
                        f"{self.name}: holds NaN or infinite samples; repair the file first"
                    )
                seen += len(block)
                yield np.ascontiguousarray(block.T)
        if seen != self.samples:
            raise InputError(
                f"{self.name}: promises {self.samples} samples and holds {seen}; it is damaged"
                " or was cut off, make it again from its source"
            )

    def read(self) -> Floats:
        """Read it whole, float32 [channels, samples]; errors as `blocks`."""
        return np.concatenate(list(self.blocks()), axis=1)


def open_audio(path: Path, name: str = "") -> AudioFile:
    """Look at an audio file.

    Args:
        name: what messages call it, if not by its path.

    Raises:
        InputError: there is none, it is no audio file, or it is empty.
    """
    name = name or str(path)
    if not path.is_file():
        raise InputError(f"{name}: no such audio file")
    with _opened(path, name) as (file, note):
        found = AudioFile(path, name, file.samplerate, file.channels, file.frames, note)
    if found.samples < 1:
        raise InputError(f"{name}: holds no samples; there is nothing to work on")
    return found


def require_usable(
    file: AudioFile,
    codec: Codec,
    *,
    keep_stereo: bool,
    allow_clipped: bool,
    rates: Collection[int],
) -> None:
    """Refuse audio of which nothing sensible can be made, before any work is spent on it.

    Args:
        rates: that the artifacts take, Hz.

    Raises:
        InputError: too many channels, of another rate, shorter than a frame, silent, by
            itself or in the mix to mono, clipped, or damaged.
    """
    if file.channels > _MOST_CHANNELS:
        raise InputError(
            f"{file.name}: has {file.channels} channels; mono and stereo are supported, mix it"
            f" down first: {_sox(file, 'stereo', after=('channels', '2'))}"
        )
    if file.sample_rate not in rates:
        kept = str(codec.sample_rate)
        raise InputError(
            f"{file.name}: comes at {file.sample_rate} Hz, and these artifacts take"
            f" {', '.join(map(str, sorted(rates)))} Hz; resample it first:"
            f" {_sox(file, kept, '-r', kept)}"
        )
    if file.samples * codec.sample_rate < codec.hop_length * file.sample_rate:
        raise InputError(
            f"{file.name}: lasts {file.seconds * 1000:.3g} ms, {file.samples} samples; the"
            f" codec needs one frame at least, {codec.seconds_of(1) * 1000:.3g} ms"
        )
    full = peak = mixed_peak = power = mixed_power = 0.0
    for block in file.blocks():
        size, mix = np.abs(block), block.mean(axis=0, dtype=np.float64)
        peak = max(peak, float(size.max()))
        mixed_peak = max(mixed_peak, float(np.abs(mix).max()))
        full += np.count_nonzero(size >= _FULL_SCALE)
        power += float(np.square(block, dtype=np.float64).mean(axis=0).sum())
        mixed_power += float(np.square(mix).sum())
    if peak == 0:
        raise InputError(f"{file.name}: is silent, every sample is 0; nothing to vary")
    if _decibels(peak) > _LOUDEST_DBFS:
        raise InputError(
            f"{file.name}: is no audio, its peak is at {_decibels(peak):.0f} dBFS; scale it to"
            " a peak of 1"
        )
    if _decibels(peak) < _SILENT_DBFS:
        raise InputError(
            f"{file.name}: is silent, its peak is at {_decibels(peak):.0f} dBFS, below"
            f" {_SILENT_DBFS:.0f}; make it again with more gain"
        )
    lost = _decibels(math.sqrt(mixed_power / power))
    if not keep_stereo and (lost < _CANCELLED_DB or _decibels(mixed_peak) < _SILENT_DBFS):
        raise InputError(
            f"{file.name}: its channels cancel in the mix to mono, of which"
            f" {'nothing is' if mixed_power == 0 else f'{lost:.0f} dB are'} left (one is the"
            " inverse of the other); go on with --keep-stereo, or turn one round:"
            f" {_sox(file, 'mono', after=('remix', '1,2i'))}"
        )
    share = full / (file.samples * file.channels)
    if share > _MOST_CLIPPED and not allow_clipped:
        raise InputError(
            f"{file.name}: is clipped, {share:.0%} of its samples are at full scale; make it"
            " again with less gain, or go on with --allow-clipped"
        )


def require_writable(path: Path) -> None:
    """Refuse an output path early.

    Raises:
        InputError: its suffix stands for no format that can be written, or its place cannot
            be written.
    """
    if path.suffix.lower() not in _WRITTEN:
        raise InputError(
            f"{path}: cannot write {path.suffix or 'a file without a suffix'}; name it"
            f" {', '.join(_WRITTEN)}"
        )
    require_place(path.parent, [path.name])


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
                _as_libsndfile_takes_it(temporary),
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
                f"{path}: cannot be written ({error.error_string}); is the disk full?"
            ) from error


@contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """Open a file, its lengths mended; gives it and what somebody should be told of it."""
    try:
        with path.open("rb") as stream:
            found = _mended(stream, name)
            patched = None if found is None else Patched(stream, found.patches)
            with soundfile.SoundFile(patched or _as_libsndfile_takes_it(path)) as file:
                yield file, "" if found is None else found.note
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", error)
        raise InputError(
            f"{name}: cannot be read as audio ({reason}); WAV, FLAC and OGG are supported,"
            " a damaged file has to be made again from its source"
        ) from error


def _mended(stream: BinaryIO, name: str) -> Mended | None:
    try:
        return mended(stream)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _as_libsndfile_takes_it(path: Path) -> str | bytes:
    """Return a name as it is: text need not be UTF-8 but on Windows."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _decibels(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf


def _sox(file: AudioFile, suffix: str, *options: str, after: Sequence[str] = ()) -> str:
    """Return the command that makes a usable file of one, as it is pasted into a shell."""
    named = file.name == str(file.path)
    source = [path_word(file.path)] if named else ["-t", "wav", "-"]
    target = file.path.with_name(f"{file.path.stem}-{suffix}.wav")
    made = path_word(target if named else Path(target.name))
    return " ".join(map(quoted, ["sox", *source, *options, made, *after]))
