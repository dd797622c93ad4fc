"""What is done to decoded audio before somebody hears it: its level, and what is mixed in.

The published app brings each channel of each variation to the loudness that its input had, by
the loudness that the *output* is measured to have.  So does this, and it never goes beyond a
peak of 1, which the app does: where that takes less gain, all channels get less alike.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import VampSettings

from .loudness import FLOOR, measure
from .noise import Floats
from .streaming import windows

OutputLoudness = Literal["input", "codec"] | float
Read = Callable[[], Iterable[Floats]]  # gives float32 [channels, n] pieces, as often as asked

_WINDOW = 1 << 18  # samples


@dataclass(frozen=True)
class OutputSettings:
    """What is done to the output.

    Attributes:
        loudness: ``input``, each channel as loud as it came; ``codec``, what the codec gives;
            or of the loudest channel in LUFS, the others in proportion.
        mix: how much of it is the variation; the rest is the input.
    """

    loudness: OutputLoudness = "input"
    mix: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.loudness, str):
            known = self.loudness in ("input", "codec")
        else:
            known = FLOOR <= self.loudness <= 0
        if not known:
            raise InputError(
                f"output_loudness = {self.loudness} is neither input nor codec, nor {FLOOR:g}"
                " to 0 LUFS"
            )
        if not 0 <= self.mix <= 1:
            raise InputError(f"mix = {self.mix} is outside 0 to 1")

    def target(self, loudness: Floats | None) -> Floats | None:
        """Return what each channel is brought to, LUFS; None keeps the codec's level.

        Takes the loudness of each channel of the input, float32 [channels].
        """
        if self.loudness == "codec":
            return None
        assert loudness is not None
        if self.loudness == "input":
            return loudness
        return np.asarray(loudness - loudness.max() + self.loudness, np.float32)

    def require_fit(self, vamping: VampSettings) -> None:
        """Refuse to mix what is not as long.

        Raises:
            InputError: it is so.
        """
        if self.mix < 1 and vamping.time_stretch_factor > 1:
            raise InputError(
                f"mix = {self.mix} mixes the input in, and time_stretch_factor ="
                f" {vamping.time_stretch_factor} makes the output longer than that; leave one"
                " out"
            )


@dataclass(frozen=True)
class Levelled:
    """Audio at its level.

    Attributes:
        pieces: gives it, as often as it is called: float32 [channels, n] pieces.
        loudness: of each channel, LUFS, float32 [channels].
        gain_db: by which each was brought there, float32 [channels].
        limited_db: how much less that is than asked for, since the peak would exceed 1.
    """

    pieces: Read = field(repr=False)
    loudness: Floats
    gain_db: Floats
    limited_db: float


def read_loudness(text: str) -> OutputLoudness:
    """Read how loud the output is to be, as `OutputSettings` takes it.

    Raises:
        InputError: it is something else.
    """
    if text == "input":
        return "input"
    if text == "codec":
        return "codec"
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"output_loudness = {text} is neither input nor codec, nor a number of LUFS"
        ) from None


def level(
    read: Read,
    sample_rate: int,
    *,
    settings: OutputSettings,
    loudness: Floats | None,
    balance: Floats,
    dry: Read | None = None,
) -> Levelled:
    """Bring decoded audio to its level; it is read twice, or with something mixed in thrice.

    Args:
        sample_rate: Hz.
        loudness: of each channel of the input, LUFS, float32 [channels]; None will do where
            the codec's level is kept.
        balance: of the channels, see `Prepared`; their factors at the codec's level.
        dry: what is mixed in: as the codec was given it, and as long.
    """
    target = settings.target(loudness)
    if dry is not None:
        read = _mixed(read, dry, settings, sample_rate)
    found = measure(read(), sample_rate)
    gain = balance if target is None else _factor(target - found.loudness)
    peak = max(1.0, float((gain * found.peak).max()))
    factor = gain / np.float32(peak)

    def pieces() -> Iterator[Floats]:
        for piece in read():
            yield np.clip(piece * factor[:, None], -1, 1)  # a rounding above 1 at most

    decibels = _decibels(factor)
    return Levelled(
        pieces,
        np.maximum(found.loudness + decibels, np.float32(FLOOR)),
        decibels,
        float(_decibels(np.float32(peak))),
    )


def _mixed(wet: Read, dry: Read, settings: OutputSettings, sample_rate: int) -> Read:
    """Mix in what the codec was given, as loud as what it gives unless its level is kept."""
    gain = np.ones(1, np.float32)
    if settings.loudness != "codec":
        asked, found = measure(dry(), sample_rate), measure(wet(), sample_rate)
        gain = _factor(asked.loudness - found.loudness)
    share = np.float32(settings.mix)

    def pieces() -> Iterator[Floats]:
        cut = [windows(read(), size=_WINDOW, context=0) for read in (wet, dry)]
        for one, other in zip(*cut, strict=True):
            yield share * gain[:, None] * one.data + (1 - share) * other.data

    return pieces


def _factor(decibels: Floats) -> Floats:
    return np.asarray(np.float32(10) ** (decibels / np.float32(20)), np.float32)


def _decibels(factor: Floats | np.float32) -> Floats:
    return np.asarray(20 * np.log10(np.maximum(factor, np.float32(1e-30))), np.float32)


@dataclass(frozen=True)
class AudioFacts:
    """What somebody should know of audio that was written."""

    sample_rate: int  # Hz
    settings: OutputSettings
    levelled: Levelled

    def __str__(self) -> str:
        """Say it in a line."""
        done, asked = self.levelled, self.settings.loudness
        level, gain = _listed(done.loudness, ".1f"), _listed(done.gain_db, "+.1f")
        aim = f"{level} LUFS ({gain} dB)"
        if asked == "codec":
            aim = f"as the codec gives it: {level} LUFS"
        elif done.limited_db:
            below = "the input" if asked == "input" else "what was asked for"
            aim += f": {done.limited_db:.1f} dB below {below}, as its peak is held at 1"
        elif asked == "input":
            aim = f"as loud as the input: {aim}"
        count = len(done.loudness)
        channels = {1: "mono", 2: "stereo"}.get(count, f"{count} channels")
        mixed = "" if self.settings.mix == 1 else f"{self.settings.mix:.0%} variation, "
        return f"{self.sample_rate} Hz, {channels}, {mixed}{aim}"

    def to_json(self) -> dict[str, object]:
        """Return the same for a machine."""
        done = self.levelled
        return {
            "sample_rate": self.sample_rate,
            "output_loudness": self.settings.loudness,
            "mix": self.settings.mix,
            "loudness": [round(float(value), 3) for value in done.loudness],
            "gain_db": [round(float(value), 3) for value in done.gain_db],
            "limited_db": round(done.limited_db, 3),
        }


def _listed(values: Floats, form: str) -> str:
    return " and ".join(format(float(value), form) for value in values)
