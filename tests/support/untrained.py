"""A nano codec of random weights, and its quantiser in training."""

from __future__ import annotations

from typing import Any

import torch

from tests.support.sets import NANO
from training.quantiser import QuantiserTraining
from vampnet_onnx.models import LAC, CodecDims
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state


def quantiser() -> tuple[LAC, QuantiserTraining]:
    codec = nano_codec()
    generator = torch.Generator().manual_seed(0)
    return codec, QuantiserTraining(codec.quantizer, generator, dropout=0.0, settle=10_000)


def nano_codec(**changed: Any) -> LAC:
    codec = LAC(CodecDims.from_kwargs(NANO["codec"] | changed, "nano"))
    codec.load_state_dict(random_state(codec, torch.Generator().manual_seed(0)))
    return codec.requires_grad_(False)
