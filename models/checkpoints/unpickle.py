"""Opening untrusted files: ``weights_only=True``, and a message for every damage."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there

# New-style weight norm stores magnitude and direction as parametrisation originals.
_NEW_STYLE = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}
_NAMED_AT_MOST = 40
_LONGEST_NAME = 120
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def unpickle(path: Path) -> Any:
    """Open a file that holds tensors and plain values.

    Raises:
        InputError: missing, unreadable, damaged, or it wants to run code.
    """
    if not is_there(path):
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: not a file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters is refused, not warned of
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted:
            name = wanted[1][:_LONGEST_NAME]
            raise InputError(
                f"{path}: the file wants to run code when opened ({name}); refused."
                " A checkpoint in the published format holds tensors and plain values only"
            ) from error
        raise InputError(f"{path}: truncated, or not a checkpoint at all") from error
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (permission denied)") from error
    except Exception as error:
        # Whatever a damaged file makes the reader stumble over, the cause is the file.
        raise InputError(
            f"{path}: truncated, or not a checkpoint at all"
            f" ({type(error).__name__} while reading it)"
        ) from error


def clean_state(raw: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Rename new-style weight-norm keys and refuse what is no tensor of weights.

    The weights themselves are left alone, so a mapped file costs no memory.

    Raises:
        InputError: entries that are no float tensors, stored in full.
    """
    wrong = [str(k) for k, v in raw.items() if not (isinstance(k, str) and _is_weight(v))]
    if wrong:
        raise InputError(
            f"{path}: these entries are not float tensors, stored in full: {listed(wrong)}"
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


def check_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Look at every weight once.

    Raises:
        InputError: weights are NaN or infinite, or give a weight norm nothing to scale.
    """
    nonfinite = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if nonfinite:
        raise InputError(
            f"{path}: NaN or infinite weights in {listed(nonfinite)}; the checkpoint is"
            " damaged, export it again from training"
        )
    zero = [
        key
        for key, value in state.items()
        if key.endswith(".weight_v")
        and value.ndim > 1
        and not torch.linalg.vector_norm(value.flatten(1), dim=1).all()
    ]
    if zero:
        raise InputError(
            f"{path}: rows of zeros in {listed(zero)}; weight norm divides by their length, so"
            " the published model computes NaN with them"
        )


def listed(names: list[str]) -> str:
    """Join names; a long list is cut so that the message stays readable, with the count."""
    shown = ", ".join(name[:_LONGEST_NAME] for name in names[:_NAMED_AT_MOST])
    more = len(names) - _NAMED_AT_MOST
    return f"{shown} and {more} more" if more > 0 else shown


def _is_weight(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dtype in _PRECISIONS
        and value.layout == torch.strided
        and value.device.type == "cpu"
        # A few stored numbers can claim any size; spread out they would fill the memory.
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )
