"""The beat tracker: mono audio to logits of beats and downbeats."""

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import TRACKER
from vampnet_onnx.export.passes import FoldBatchNorm
from vampnet_onnx.export.passes.sharing import sharing_copy
from vampnet_onnx.models import ModelSet, WaveBeat

from .component import (
    TRACE_BATCH,
    TRACE_FRAMES,
    Exporter,
    Structure,
    TracedComponent,
    seeded_normal,
    signature,
)


class BeatTracker(nn.Module):
    """Divides by the peak and tracks.

    Attribute names are those of the state dict, so that a path in the graph is the path in the
    checkpoint.
    """

    def __init__(self, tracker: WaveBeat) -> None:
        super().__init__()
        self.blocks, self.output = tracker.blocks, tracker.output

    def forward(self, audio: Tensor) -> Tensor:
        """Take float [B, 1, samples] at the tracker's rate, give logits, float [B, 2, frames].

        Silence, which has no peak, stays silence.
        """
        peak = audio.abs().amax(dim=-1, keepdim=True)
        audio = audio / torch.where(peak > 0, peak, 1.0)
        for block in self.blocks:
            audio = block(audio)
        logits: Tensor = self.output(audio)
        return logits


def tracker_of(models: ModelSet) -> WaveBeat:
    """Return the tracker of a set.

    Raises:
        InputError: there is none.
    """
    if models.tracker is None:
        raise InputError(f"{models.folder}: no {TRACKER}.pth, which beat_tracker is made from")
    return models.tracker


def beat_tracker(models: ModelSet, variant: str = "") -> TracedComponent:
    """Prepare the tracker; it takes mono audio at its own rate, of any level."""
    tracker = sharing_copy(tracker_of(models))
    dims = tracker.dims
    samples = TRACE_FRAMES * dims.frame_samples - dims.frame_samples // 3
    return TracedComponent(
        name="beat_tracker",
        variant=variant,
        module=BeatTracker(tracker),
        passes=(FoldBatchNorm(),),
        example=(seeded_normal(TRACE_BATCH, 1, samples) / 4,),
        inputs=(signature("audio", "float32", "batch", 1, "samples"),),
        outputs=(signature("logits", "float32", "batch", 2, "frames"),),
        dims=dims,
        structure=Structure("beat_tracker", variant, None, tracker=dims),
    )


EXPORTERS = (Exporter("beat_tracker", 35, beat_tracker, checkpoint=TRACKER, is_traced=True),)
