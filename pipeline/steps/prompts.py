"""What a mask can follow in the music: onsets, found in the audio, and beats, from a file."""

import math
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.settings import BeatSettings
from vampnet_onnx.pipeline.version.components import Codec

from .masks import Beats
from .noise import Floats

_MOST_BYTES = 16_000_000  # days of beats


def onset_frames(audio: Floats, codec: Codec) -> list[int]:
    """Detect onsets as the published mask does.

    ``librosa.onset.onset_detect(y, sr, hop_length=hop, backtrack=True)``.

    Takes audio (float32 [samples]) that is prepared: mono at the codec's rate; returns
    frames, ascending.

    Raises:
        EnvironmentLacksError: librosa is not installed.
    """
    require_optional("librosa")
    import librosa

    found = librosa.onset.onset_detect(
        y=audio, sr=codec.sample_rate, hop_length=codec.hop_length, backtrack=True
    )
    return [int(frame) for frame in found]


def read_beats(path: Path, seconds: float, settings: BeatSettings) -> Beats:
    """Read beats from a text file: one time in seconds a line; ``#`` starts a remark.

    Beat trackers write such files, with the beat's number in its bar behind the time, so that
    1 is a downbeat.  Without a 1 anywhere nothing is known of downbeats.  A word there is a
    label and says nothing; what follows it neither.

    Args:
        seconds: how long the clip lasts.

    Raises:
        InputError: no such file, or a line that is no time within the clip, or that has a
            number behind it which counts no beat of a bar.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
        lines = content.decode("utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file of beats") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: more than {_MOST_BYTES} bytes, which is no file of beats")
    beats, downbeats = list[float](), list[float]()
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        place = f"{path}:{number}"
        beats.append(_time(place, words[0], seconds))
        if beats[1:] and beats[-1] < beats[-2]:
            raise InputError(f"{place}: {words[0]} s is before the beat above; sort the file")
        if _number_in_bar(place, words[1:]) == 1:
            downbeats.append(beats[-1])
    if not beats:
        raise InputError(f"{path}: holds no beats; write one time in seconds a line")
    return Beats(beats, downbeats or None, settings)


def _number_in_bar(place: str, words: list[str]) -> int | None:
    """Return which beat of its bar the words behind a time say it is, if they say so."""
    try:
        number = float(words[0])
    except (IndexError, ValueError):
        return None
    if len(words) > 1 or number < 1 or not number.is_integer():
        raise InputError(
            f"{place}: {' '.join(words)!r:.80} behind the time is no number of a beat in its"
            " bar, which counts from 1; leave it out"
        )
    return int(number)


def _time(place: str, word: str, length: float) -> float:
    try:
        time = float(word)
    except ValueError as error:
        raise InputError(f"{place}: {word!r} is not a time in seconds") from error
    if not (math.isfinite(time) and 0 <= time <= length):
        raise InputError(f"{place}: {word} s is outside the clip, which lasts {length:.2f} s")
    return time
