"""Codes in ``.npz`` files: what ``encode`` and ``vamp --save-tokens`` write, ``decode`` reads.

Arrays of a file: ``codes``, int64 [pieces, channels, codebooks, frames], is what is decoded;
``balance``, float32 [channels], the factor of each channel's audio; ``sample_rate`` and
``hop_length`` of the codec; ``codec``, the hash of the checkpoint the codes belong to.
Further arrays say how the codes were made.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.arrays import ArrayFile
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import replacing, require_place
from vampnet_onnx.pipeline.steps.checks import require_codes
from vampnet_onnx.pipeline.steps.noise import Floats, Integers
from vampnet_onnx.pipeline.version.components import Components

_ARRAYS = ("codes", "balance", "codec")


def write_tokens(
    path: Path,
    components: Components,
    codes: Integers,
    balance: Floats,
    **others: NDArray[Any],
) -> None:
    """Write codes of these components; a stopped run leaves the whole file or none.

    Args:
        codes: int64 [pieces, channels, codebooks, frames].
        balance: factor of each channel's audio, float32 [channels].

    Raises:
        InputError: the name has another ending, or the file cannot be written.
    """
    require_npz(path)
    arrays: dict[str, Any] = {
        **others,
        "codes": codes,
        "balance": balance,
        "sample_rate": np.array(components.codec.sample_rate),
        "hop_length": np.array(components.codec.hop_length),
        "codec": np.array(components.codec_hash),
    }
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_tokens(path: Path, components: Components) -> tuple[Integers, Floats]:
    """Read codes and balance (see `write_tokens`) that belong to these components.

    Raises:
        InputError: no such file, not one of codes, codes of another codec, out of range or
            misshapen.
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
    is_float = np.issubdtype(balance.dtype, np.floating)
    if not (is_float and (np.abs(balance) <= np.finfo(np.float32).max).all()):
        raise InputError(f"{path}: the balance of its channels holds no finite numbers")
    try:
        for piece in codes:
            require_codes(piece, n_codebooks=codec.n_codebooks, mask_token=codec.codebook_size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return codes, balance.astype(np.float32)


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
            return {name: file.read(name) for name in _ARRAYS}
    except InputError as error:
        raise InputError(f"{error}; vampnet-onnx encode makes files of codes") from error
