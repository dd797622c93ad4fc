"""Beat tracking: what stands around the tracker's network, as published around it.

The published tracker resamples, mixes down and divides by the peak; this is the last of it.
"""

import torch
from torch import Tensor

from vampnet_onnx.models.networks.wavebeat import WaveBeat


def beat_logits(audio: Tensor, tracker: WaveBeat) -> Tensor:
    """Return the logits of beats and downbeats.

    Args:
        audio: mono at the tracker's rate, float [B, 1, samples]; silence, which has no peak,
            stays silence.

    Returns:
        float [B, 2, frames].
    """
    peak = audio.abs().amax(dim=-1, keepdim=True)
    logits: Tensor = tracker(audio / torch.where(peak > 0, peak, 1.0))
    return logits
