"""Refusing codes and masks that do not fit, before anything is made of them."""

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.errors import InputError


def require_codes(codes: NDArray[np.int64], *, n_codebooks: int, mask_token: int) -> None:
    """Check codes.

    Args:
        codes: should be int64 [B, n_codebooks, T] from 0 to `mask_token`.

    Raises:
        InputError: naming what does not fit.
    """
    if codes.ndim != 3 or codes.shape[1] != n_codebooks or not codes.size:
        raise InputError(
            f"codes must be [batch, {n_codebooks}, steps], not {list(codes.shape)}; were they"
            " made with these artifacts?"
        )
    wanted = f"codes must be int64 from 0 to {mask_token}, the mask token; these are"
    if codes.dtype != np.int64:
        raise InputError(f"{wanted} {codes.dtype}")
    if codes.min() < 0 or codes.max() > mask_token:
        raise InputError(f"{wanted} from {codes.min()} to {codes.max()}")


def require_mask(mask: NDArray[np.int64], codes: NDArray[np.int64]) -> None:
    """Check the mask of codes (int64 [B, C, T]): the same shape, 0 and 1 only.

    Raises:
        InputError: naming what does not fit.
    """
    if mask.shape != codes.shape:
        raise InputError(f"the mask is {list(mask.shape)}, the codes {list(codes.shape)}")
    if not ((mask == 0) | (mask == 1)).all():
        found = sorted(set(np.unique(mask)) - {0, 1})[:3]
        raise InputError(
            "a mask holds only 0 (keep) and 1 (generate); this one has"
            f" {', '.join(str(value) for value in found)}"
        )
