"""Opening untrusted files: ``weights_only=True``, and a message for every damage."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.errors import InputError

# New-style weight norm stores magnitude and direction as parametrisation originals.
_NEW_STYLE = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}
_NAMED_AT_MOST = 40


def unpickle(path: Path) -> Any:
    """Open a file that holds tensors and plain values.

    Raises:
        InputError: missing, unreadable, damaged, or it wants to run code.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: not a file")
    try:
        return torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            name = str(error).partition("Unsupported ")[2].partition("\n")[0][:120]
            raise InputError(
                f"{path}: the file wants to run code when opened (unsupported {name});"
                " refused. A checkpoint in the published format holds tensors and plain"
                " values only"
            ) from error
        raise InputError(f"{path}: truncated, or not a checkpoint at all") from error
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (permission denied)") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError,
            TypeError, IndexError, UnicodeDecodeError, AssertionError,
            zipfile.BadZipFile) as error:  # fmt: skip
        # Whatever a damaged file makes the reader stumble over, the cause is the file.
        raise InputError(
            f"{path}: truncated, or not a checkpoint at all"
            f" ({type(error).__name__} while reading it)"
        ) from error


def clean_state(raw: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Rename new-style weight-norm keys and refuse what cannot be a weight.

    Raises:
        InputError: entries that are no float tensors, or hold NaN or infinity.
    """
    wrong = [str(k) for k, v in raw.items() if not (isinstance(k, str) and _is_weight(v))]
    if wrong:
        raise InputError(f"{path}: these entries are not float tensors: {listed(wrong)}")
    nonfinite = [key for key, value in raw.items() if not torch.isfinite(value).all()]
    if nonfinite:
        raise InputError(
            f"{path}: NaN or infinite weights in {listed(nonfinite)}; the checkpoint is"
            " damaged, export it again from training"
        )
    state: dict[str, Tensor] = {}
    for key, value in raw.items():
        for new, old in _NEW_STYLE.items():
            if key.endswith(new):
                key = key.removesuffix(new) + old
        if key in state:
            raise InputError(f"{path}: both weight-norm styles hold {key}")
        state[key] = value.detach().to(torch.float32)
    return state


def listed(names: list[str]) -> str:
    """Join names; a long list is cut so that the message stays readable, with the count."""
    shown = ", ".join(names[:_NAMED_AT_MOST])
    more = len(names) - _NAMED_AT_MOST
    return f"{shown} and {more} more" if more > 0 else shown


def _is_weight(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
    )
