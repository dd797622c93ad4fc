"""Codes in ``.npz`` files: what ``encode`` and ``vamp --save-tokens`` write, ``decode`` reads.

Arrays of a file: ``codes``, int64 [pieces, channels, codebooks, frames], is what is decoded;
``balance``, float32 [channels], the factor of each channel's audio where it has the level that
the codec gives, and ``loudness``, float32 [channels], that of the input in LUFS;
``output_loudness`` and ``mix``, what ``vamp`` did to its output; ``later_codes`` and
``overlaps``, int64 [2], what the codes are faded into with a crossfade; ``sample_rate`` and
``hop_length`` of the codec; ``codec``, the hash of the checkpoint the codes belong to.
Further arrays say how the codes were made.
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.arrays import ArrayFile
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import replacing, require_place
from vampnet_onnx.pipeline.steps.checks import require_codes
from vampnet_onnx.pipeline.steps.crossfade import Crossfade, Overlaps
from vampnet_onnx.pipeline.steps.noise import Floats, Integers
from vampnet_onnx.pipeline.steps.output import OutputLoudness, OutputSettings, read_loudness
from vampnet_onnx.pipeline.version.components import Components

_ARRAYS = ("codes", "balance", "codec")
_OF_OUTPUT = ("loudness", "output_loudness", "mix", "later_codes", "overlaps")
_MOST_FRAMES = 1 << 31  # of a chunk; times the hop it fits an int64
_LOUDEST = 200.0  # LUFS; no audio that is taken is as loud
_SAYS_NO_LOUDNESS = (
    "does not say how loud its audio is to be; add --output-loudness codec for what the codec"
    " gives"
)


@dataclass(frozen=True)
class Tokens:
    """Codes, and how loud their audio is to be.

    Attributes:
        codes: int64 [pieces, channels, codebooks, frames].
        balance: factor of each channel's audio at the codec's level, float32 [channels].
        loudness: of each channel of the input, LUFS, float32 [channels]; None where nobody
            asks for it.
        output: what is done to the output.
        crossfade: what the codes are faded into, like them.
    """

    codes: Integers
    balance: Floats
    loudness: Floats | None
    output: OutputSettings
    crossfade: Crossfade | None = None


def write_tokens(
    path: Path,
    components: Components,
    tokens: Tokens,
    **others: NDArray[Any],
) -> None:
    """Write codes of these components; a stopped run leaves the whole file or none.

    Raises:
        InputError: the name has another ending, or the file cannot be written.
    """
    require_npz(path)
    arrays: dict[str, Any] = {
        **others,
        "codes": tokens.codes,
        "balance": tokens.balance,
        "output_loudness": np.array(str(tokens.output.loudness)),
        "mix": np.array(tokens.output.mix),
        "sample_rate": np.array(components.codec.sample_rate),
        "hop_length": np.array(components.codec.hop_length),
        "codec": np.array(components.codec_hash),
    }
    if tokens.loudness is not None:
        arrays["loudness"] = tokens.loudness
    if (fade := tokens.crossfade) is not None:
        arrays["later_codes"] = fade.later
        arrays["overlaps"] = np.array([fade.overlaps.every, fade.overlaps.fade])
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_tokens(
    path: Path, components: Components, output_loudness: OutputLoudness | None = None
) -> Tokens:
    """Read codes that belong to these components; see `write_tokens`.

    Args:
        output_loudness: in place of what the file says of it.

    Raises:
        InputError: no such file, not one of codes, codes of another codec, out of range or
            misshapen; or it does not say how loud its audio is to be.
    """
    found = _arrays(path)
    codec = components.codec
    if str(found["codec"]) != components.codec_hash:
        raise InputError(
            f"{path}: its codes were made with another codec than that of"
            f" {components.artifacts.folder}; decode them with the artifacts they came from"
        )
    codes, balance = found["codes"], found["balance"]
    if codes.ndim != 4 or balance.shape != codes.shape[1:2] or not codes.size:
        raise InputError(
            f"{path}: codes must be [pieces, channels, codebooks, frames] with one balance a"
            f" channel, not {list(codes.shape)} with {list(balance.shape)}"
        )
    if not _is_finite(balance):
        raise InputError(f"{path}: the balance of its channels holds no finite numbers")
    try:
        crossfade = _crossfade_of(found)
        for piece in (*codes, *([] if crossfade is None else crossfade.later)):
            require_codes(piece, n_codebooks=codec.n_codebooks, mask_token=codec.codebook_size)
        output = _output_of(found, output_loudness)
        loudness = None if output.loudness == "codec" else _loudness_of(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Tokens(codes, balance.astype(np.float32), loudness, output, crossfade)


def _output_of(
    found: dict[str, NDArray[Any]], output_loudness: OutputLoudness | None
) -> OutputSettings:
    """Return what is done to the output; what was mixed in is not in the file."""
    mix = found.get("mix", np.ones(()))
    if mix.size != 1 or not _is_finite(mix):
        raise InputError("its mix is no number")
    asked = output_loudness
    if asked is None and "output_loudness" in found:
        asked = read_loudness(str(found["output_loudness"]))
    if asked is None:
        raise InputError(_SAYS_NO_LOUDNESS)
    return OutputSettings(asked, float(mix.item()))


def _crossfade_of(found: dict[str, NDArray[Any]]) -> Crossfade | None:
    if "later_codes" not in found:
        return None
    later, overlaps = found["later_codes"], found.get("overlaps", np.zeros(0))
    whole = np.issubdtype(overlaps.dtype, np.integer) and overlaps.shape == (2,)
    if later.shape != found["codes"].shape or not (
        whole and 0 < overlaps[1] < overlaps[0] < _MOST_FRAMES
    ):
        raise InputError("its later_codes and overlaps do not fit its codes")
    return Crossfade(later, Overlaps(int(overlaps[0]), int(overlaps[1])))


def _loudness_of(found: dict[str, NDArray[Any]]) -> Floats:
    if "loudness" not in found:
        raise InputError(_SAYS_NO_LOUDNESS)
    loudness = found["loudness"]
    fits = loudness.shape == found["balance"].shape and _is_finite(loudness)
    if not (fits and (np.abs(loudness) <= _LOUDEST).all()):
        raise InputError("its loudness is not a number of LUFS a channel")
    return loudness.astype(np.float32)


def _is_finite(numbers: NDArray[Any]) -> bool:
    """Return whether these are floats that float32 holds."""
    is_float = np.issubdtype(numbers.dtype, np.floating)
    return is_float and bool((np.abs(numbers) <= np.finfo(np.float32).max).all())


def require_npz(path: Path) -> None:
    """Refuse a name that does not end in ``.npz``, or a place that cannot be written.

    Raises:
        InputError: it is so.
    """
    if path.suffix.lower() != ".npz":
        raise InputError(f"{path}: codes are written to .npz files; name it so")
    require_place(path.parent, [path.name])


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with closing(ArrayFile(path)) as file:
            missing = [name for name in _ARRAYS if name not in file.names]
            if missing:
                raise InputError(f"{path}: is no file of codes (it holds no {missing[0]!r})")
            there = [name for name in (*_ARRAYS, *_OF_OUTPUT) if name in file.names]
            return {name: file.read(name) for name in there}
    except InputError as error:
        raise InputError(f"{error}; vampnet-onnx encode makes files of codes") from error
