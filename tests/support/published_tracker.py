"""What the published beat tracker made of random weights, and ours with the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vampnet_onnx.models.networks.dims import TrackerDims
from vampnet_onnx.models.networks.wavebeat import WaveBeat

# Made by tests/support/published/record_tracker.py under torch 2.13.
_RECORDED = Path(__file__).with_name("recorded") / "tracker.npz"


def published_tracker() -> tuple[dict[str, Tensor], WaveBeat]:
    with np.load(_RECORDED) as data:
        recorded = {key: torch.from_numpy(data[key]) for key in data.files}
    model = WaveBeat(TrackerDims(2048, 5, (3, 5, 7, 9, 11, 13), 3, 2))
    model.load_state_dict({name: recorded[f"state/{name}"] for name in model.state_dict()})
    assert len(model.state_dict()) == sum(key.startswith("state/") for key in recorded)
    return recorded, model.eval().requires_grad_(False)
