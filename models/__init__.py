"""The networks in PyTorch, strict checkpoint loading, and reference behaviour.

This is the oracle: every claim of parity is measured against it, and it is pinned to the
published packages by the golden sets in ``tests/golden``.
"""

from .checkpoints.checkpoint import load_codec, load_vampnet, read_checkpoint, read_lora
from .checkpoints.folder import Checkpoints, ModelSet, lora_owner, open_models
from .networks.dims import CodecDims, TrackerDims, VampNetDims
from .networks.lac import LAC
from .networks.quantize import ResidualVectorQuantize
from .networks.vampnet import VampNet
from .networks.wavebeat import WaveBeat

__all__ = [
    "LAC",
    "Checkpoints",
    "CodecDims",
    "ModelSet",
    "ResidualVectorQuantize",
    "TrackerDims",
    "VampNet",
    "VampNetDims",
    "WaveBeat",
    "load_codec",
    "load_vampnet",
    "lora_owner",
    "open_models",
    "read_checkpoint",
    "read_lora",
]
