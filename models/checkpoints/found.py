"""Which files of a folder are the networks: by name, or as the published trainer leaves them.

A folder holds ``codec.pth``, ``coarse.pth`` and ``c2f.pth``, or some of them, each also as
``.safetensors``, and ``wavebeat.pth`` or not.  Or it is that of a training run:
``coarse/TAG/vampnet/weights.pth`` and
``c2f/TAG/vampnet/weights.pth``, where the tag is ``latest``, or else ``best``: the published
fine-tuning plays ``latest``.  A LoRA file of the run, ``lora.pth``, then lies in the tag's
folder.
"""

from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there
from vampnet_onnx.configs.names import CODEC, TRACKER, TRANSFORMERS

from .content import SAFETENSORS

SUFFIXES = (".pth", SAFETENSORS)
TAGS = ("latest", "best")

_WEIGHTS = Path("vampnet", "weights.pth")
_LORA = "lora.pth"
# Names that weights go by elsewhere.
_WEIGHT_SUFFIXES = (*SUFFIXES, ".pt", ".ckpt", ".bin")


@dataclass(frozen=True)
class Found:
    """The files of a folder of checkpoints.

    Attributes:
        files: by network, of codec, coarse, c2f and wavebeat those that are there, in this
            order.
        lora: by transformer, the LoRA file that a training run left beside it.
    """

    files: dict[str, Path]
    lora: dict[str, Path]


def find_files(folder: Path, codec: Path | None = None) -> Found:
    """Find the files of the networks.

    Args:
        codec: file of the codec, in place of the folder's own.

    Raises:
        InputError: no such folder, no networks in it, or two files for one network.
    """
    if not is_there(folder) or not folder.is_dir():
        raise InputError(f"{folder}: {_no_folder(folder)}")
    files, lora = dict[str, Path](), dict[str, Path]()
    for name in (CODEC, *TRANSFORMERS):
        found = [path for s in SUFFIXES if is_there(path := folder / f"{name}{s}")]
        tagged = _tagged(folder / name) if name in TRANSFORMERS else None
        found += [tagged / _WEIGHTS] if tagged is not None else []
        if name == CODEC and codec is not None:
            found = [codec]
        if len(found) > 1:
            raise InputError(
                f"{folder}: {' and '.join(p.relative_to(folder).as_posix() for p in found)}"
                f" are both the weights of {name}; keep one of them"
            )
        if found:
            files[name] = found[0]
        if tagged is not None and is_there(tagged / _LORA):
            lora[name] = tagged / _LORA
    if not files or (codec is not None and len(files) == 1):
        raise InputError(f"{folder}: {_nothing(folder, codec)}")
    if is_there(tracker := folder / f"{TRACKER}.pth"):
        files[TRACKER] = tracker
    return Found(files, lora)


def _tagged(folder: Path) -> Path | None:
    """Return the folder of the tag to take of a training run, if this is one."""
    for tag in TAGS:
        if is_there(folder / tag / _WEIGHTS):
            return folder / tag
    others = sorted(path.parts[-3] for path in folder.glob(f"*/{_WEIGHTS.as_posix()}"))
    if others:
        raise InputError(
            f"{folder}: a training run without {' or '.join(TAGS)}; rename the one to take of"
            f" {', '.join(others)} to {TAGS[0]}"
        )
    return None


def _no_folder(folder: Path) -> str:
    if is_there(folder):
        return (
            "a file, not a folder of checkpoints; give the folder it is in, with the file"
            f" called {', '.join(f'{n}.pth' for n in (CODEC, *TRANSFORMERS))}, whichever it is"
        )
    return "no such folder of checkpoints"


def _nothing(folder: Path, codec: Path | None) -> str:
    names = [f"{name}.pth" for name in ((CODEC,) if codec is None else ()) + TRANSFORMERS]
    text = f"holds none of {', '.join(names)}"
    others = sorted(p.name for p in folder.iterdir() if p.suffix in _WEIGHT_SUFFIXES)
    inside = [p for p in (folder.parent, *folder.parents) if p.name in TRANSFORMERS]
    if inside or folder.name in TRANSFORMERS:
        run = inside[0].parent if inside else folder.parent
        return f"{text}; of a training run give the folder that holds coarse and c2f: {run}"
    if others:
        return (
            f"{text}, but {', '.join(others[:5])}; call each file after its network, as"
            f" {' or '.join(names)}"
        )
    return (
        f"{text}; fetch the published set with 'vampnet-onnx fetch' or make one with"
        " 'vampnet-onnx make-checkpoint'"
    )
