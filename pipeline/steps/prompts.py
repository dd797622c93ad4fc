"""What a mask can follow in the music: onsets, found in the audio, and beats, from a file."""

import math
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.pipeline.version.components import Codec

from .noise import Floats


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


def read_beats(path: Path, codec: Codec, frames: int) -> list[int]:
    """Read beats from a text file: one time in seconds a line; ``#`` starts a remark.

    Beat trackers write such files; further columns of a line (the beat's number in its bar,
    say) are left aside.  Returns frames in the file's order, rounded up as everywhere.

    Raises:
        InputError: no such file, or a line that is no time within the clip.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file of beats") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error
    beats = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if words:
            beats.append(_frame(f"{path}:{number}", words[0], codec, frames))
    if not beats:
        raise InputError(f"{path}: holds no beats; write one time in seconds a line")
    return beats


def _frame(place: str, word: str, codec: Codec, frames: int) -> int:
    try:
        seconds = float(word)
    except ValueError as error:
        raise InputError(f"{place}: {word!r} is not a time in seconds") from error
    length = codec.seconds_of(frames)
    if not (math.isfinite(seconds) and 0 <= seconds <= length):
        raise InputError(f"{place}: {word} s is outside the clip, which lasts {length:.2f} s")
    return min(codec.frames_of(seconds), frames - 1)
