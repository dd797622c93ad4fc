"""Checkpoint files as the published packages open them."""

from pathlib import Path

from vampnet_onnx.configs.manifest import LORA_ROLE
from vampnet_onnx.configs.names import TRANSFORMERS

from .checkpoint import read_checkpoint, read_lora, save_checkpoint
from .content import SAFETENSORS, read_content


def published_copy(path: Path, target: Path, *, role: str) -> Path:
    """Return a file that the published packages open: this one, or a copy where need be.

    They load by name, in PyTorch's format, and pass over keys that they do not know; and where
    the keywords do not say ``flash_attn``, they ask for the attention of another package,
    under other names.

    Args:
        target: where a copy goes, if one is made.
        role: ``codec``, ``coarse``, ``c2f`` or ``lora``.

    Raises:
        InputError: it cannot be read.
    """
    lora = role == LORA_ROLE
    content = read_content(path, bare=lora)
    read = (read_lora if lora else read_checkpoint)(path, weights_checked=True)
    said = {"flash_attn": False} if role in TRANSFORMERS else {}
    plain = path.suffix != SAFETENSORS and set(content.state) == set(read.state)
    if plain and said.items() <= read.kwargs.items():
        return path
    whole = {"state_dict": read.state, "metadata": {"kwargs": {**read.kwargs, **said}}}
    save_checkpoint(read.state if lora else whole, target)
    return target
