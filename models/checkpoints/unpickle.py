"""Opening untrusted files: ``weights_only=True``, and a message for every damage."""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, plainly_named

# New-style weight norm stores magnitude and direction as parametrisation originals.
_NEW_STYLE = {
    ".parametrizations.weight.original0": ".weight_g",
    ".parametrizations.weight.original1": ".weight_v",
}
# What torch.compile and training on several devices put before every key of a module.
_WRAPPERS = ("_orig_mod.", "module.")
_UNKNOWN = "truncated, or not a checkpoint at all"
_HEAD = 1024
_LONGEST_HEADER = 100_000_000  # bytes, as safetensors itself allows
_OTHERS = {
    b"\x1f\x8b": "a gzip archive; unpack it; as it is",
    b"\x28\xb5\x2f\xfd": "a zstd archive; unpack it; as it is",
    b"\xfd7zXZ": "an xz archive; unpack it; as it is",
    b"BZh": "a bzip2 archive; unpack it; as it is",
    b"7z\xbc\xaf": "a 7z archive; unpack it; as it is",
    b"\x00\x05\x16\x07": "a note of macOS about another file",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
}
# Objects that people leave in metadata, by module or whole name.
_HARMLESS = {
    "collections.defaultdict": "a defaultdict",
    "numpy": "a NumPy value",
    "pathlib": "a path",
    "datetime": "a date",
    "argparse": "options of argparse",
    "omegaconf": "options of OmegaConf",
}
# Printed for the owner of a file to run, never run here: only they can trust it with code.
_SAVE_AGAIN = (
    "python -c \"import sys, torch; old, new = sys.argv[1:]; c = torch.load(old, 'cpu',"
    " weights_only=False); k = c.get('metadata', {}).get('kwargs', {}); torch.save("
    "{'state_dict': dict(c.get('state_dict', c)), 'metadata': {'kwargs': {n: v.tolist() if"
    " hasattr(v, 'tolist') else v for n, v in k.items()}}}, new)\" OLD.pth NEW.pth"
)
_LORALIB = "transformer.layers.0.self_attn.w_qs.lora_A"
# Key names of other libraries' low-rank updates.
_PEFT = re.compile(r"^base_model\.model\.|\.lora_[AB]\.(\w+\.)?weight$|\.lora_embedding_[AB]")
_KOHYA = re.compile(r"^lora_(unet|te\d?)_|\blora[._](down|up)\.weight$")
_NAMED_AT_MOST = 40
_INERT_AT_MOST = 64
_LONGEST_NAME = 120
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class _Inert:
    """Stands for a foreign class, whose objects are plain mappings of what the file gives."""

    def __new__(cls, *_: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        """Take no notice of what the class would have been called with."""
        return OrderedDict()


def unpickle(path: Path, *, inert: Sequence[str] = ()) -> Any:
    """Open a file that holds tensors and plain values.

    Args:
        inert: packages whose classes are read as data.  Nothing of them is imported or run:
            each is a class of ours that only holds what the file gives it.

    Raises:
        InputError: missing, unreadable, damaged, of another kind, or it wants to run code.
    """
    require_file(path)
    known: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = []
    while True:
        with torch.serialization.safe_globals(known):
            wanted, found = _unpickled(path, inert)
        if wanted is None:
            return found
        known.append((type("Inert", (_Inert,), {}), wanted))
        if len(known) > _INERT_AT_MOST:
            raise InputError(f"{path}: holds objects of more than {_INERT_AT_MOST} classes")


def _unpickled(path: Path, inert: Sequence[str]) -> tuple[str | None, Any]:
    """Return what a file holds, or the name of a class to read as data first."""
    try:
        with warnings.catch_warnings(), plainly_named(path) as file:
            warnings.simplefilter("ignore")  # what matters is refused, not warned of
            return None, torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
            )
    except PermissionError as error:
        raise InputError(f"{path}: may not be read (permission denied)") from error
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted and wanted[1].partition(".")[0] in inert:
            return wanted[1], None
        if wanted:
            raise InputError(f"{path}: {_refused(wanted[1][:_LONGEST_NAME])}") from error
        raise InputError(f"{path}: {what_it_is(path) or _UNKNOWN}") from error
    except Exception as error:
        # Whatever a damaged file makes the reader stumble over, the cause is the file.
        unknown = f"{_UNKNOWN} ({type(error).__name__} while reading it)"
        raise InputError(f"{path}: {what_it_is(path) or unknown}") from error


def require_file(path: Path) -> None:
    """Refuse what is no file.

    Raises:
        InputError: nothing is there, or a folder.
    """
    if not is_there(path):
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: not a file")


def what_it_is(path: Path) -> str:
    """Say what a file is that is no checkpoint, with the way out; nothing if unknown."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "empty, so not a checkpoint: a copy or a download broke off; get it again"
    if text.startswith(b"version https://git-lfs"):
        return (
            "a Git-LFS pointer, not a checkpoint: the weights themselves were never fetched;"
            " run 'git lfs install' and 'git lfs pull' in that repository"
        )
    if b"/annex/objects/" in text:
        return "a git-annex pointer, not a checkpoint; run 'git annex get' on it"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--", b"<error")):
        return (
            "a web page, not a checkpoint: what was saved is a page about the file, or an"
            " error; download the file itself (on Hugging Face: /resolve/ in the address, not"
            " /blob/), or use 'vampnet-onnx fetch'"
        )
    is_header = head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER
    if is_header and path.suffix != ".safetensors":
        return (
            "a safetensors file under another name, not a checkpoint of PyTorch; call it"
            f" {path.stem}.safetensors"
        )
    for start, name in _OTHERS.items():
        if head.startswith(start):
            return f"{name}, not a checkpoint"
    return _zip_of_something_else(path) if zipfile.is_zipfile(path) else ""


def _zip_of_something_else(path: Path) -> str:
    """Say what an archive is that torch does not read, or reads as code only."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # its directory is damaged, too, in whatever way
        return ""
    inside = {name.partition("/")[2] for name in names}
    if ".data/extern_modules" in inside:
        return (
            "a torch package, not a checkpoint: it brings code along, which is never run;"
            " take weights.pth, which the published trainer saves beside it"
        )
    if "constants.pkl" in inside:
        return (
            "a TorchScript archive, not a checkpoint: it is code with weights in it; save the"
            " module it was made from with the published package's BaseModel.save"
        )
    if "data.pkl" not in inside:
        return (
            f"a zip archive of something else (it holds {listed(sorted(names)[:3])}), not a"
            " checkpoint; if a checkpoint is in it, unpack it"
        )
    return ""


def _refused(name: str) -> str:
    """Say why a pickled object is not opened."""
    module = name.partition(".")[0]
    if name in _HARMLESS or module in _HARMLESS:
        return (
            f"holds {_HARMLESS.get(name) or _HARMLESS[module]} ({name}) beside the weights;"
            " making one when opening could run foreign code, so it is refused. If you trust"
            f" whoever made the file, save it as plain values: {_SAVE_AGAIN}"
        )
    return (
        f"the file wants to run code when opened ({name}); refused."
        " A checkpoint in the published format holds tensors and plain values only"
    )


def clean_state(raw: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """Give every tensor its published name and refuse what is no tensor of weights.

    Taken off is a wrapper's prefix that all keys carry, and new-style weight norm is renamed.
    The weights themselves are left alone, so a mapped file costs no memory.

    Raises:
        InputError: entries that are no float tensors, stored in full.
    """
    require_own_names(raw, path)
    wrong = [str(k) for k, v in raw.items() if not (isinstance(k, str) and _is_weight(v))]
    if wrong:
        raise InputError(
            f"{path}: these entries are not float tensors, stored in full: {listed(wrong)}"
        )
    prefix = wrapper_prefix(raw)
    state: dict[str, Tensor] = {}
    for key, value in raw.items():
        key = key.removeprefix(prefix)
        for new, old in _NEW_STYLE.items():
            if key.endswith(new):
                key = key.removesuffix(new) + old
        if key in state:
            raise InputError(f"{path}: both weight-norm styles hold {key}")
        state[key] = value.detach().to(torch.float32)
    return state


def require_own_names(keys: Iterable[Any], path: Path) -> None:
    """Refuse key names of other LoRA libraries: their scale is another, too.

    Raises:
        InputError: naming the library and what to do.
    """
    names = [key for key in keys if isinstance(key, str)]
    for pattern, library, way_out in (
        (
            _PEFT,
            "PEFT",
            "merge the update with its merge_and_unload() and save the whole model, or rename"
            " X.lora_A.weight to X.lora_A (and lora_B) and multiply every lora_B by lora_alpha"
            " of adapter_config.json (its rank divides here, too)",
        ),
        (
            _KOHYA,
            "diffusers or kohya",
            "rename lora_down.weight to lora_A and lora_up.weight to lora_B under the module's"
            " own path, and multiply every lora_B by its alpha, or by the rank without one",
        ),
    ):
        foreign = [name for name in names if pattern.search(name)]
        if foreign:
            raise InputError(
                f"{path}: {foreign[0][:_LONGEST_NAME]} is a key of {library}, VampNet's are"
                f" those of loralib, such as {_LORALIB}; {way_out}"
            )


def wrapper_prefix(keys: Iterable[Any]) -> str:
    """Return what a wrapped module's keys all begin with, such as ``module._orig_mod.``.

    A module that was compiled or trained on several devices is saved under the names of its
    wrappers; the published trainer does so with LoRA files.
    """
    rest = [key for key in keys if isinstance(key, str)]
    prefix = ""
    while rest and (
        found := next((w for w in _WRAPPERS if all(key.startswith(w) for key in rest)), "")
    ):
        prefix += found
        rest = [key.removeprefix(found) for key in rest]
    return prefix


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
