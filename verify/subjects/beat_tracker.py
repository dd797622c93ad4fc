"""The beat tracker: mono audio to logits of beats and downbeats."""

from itertools import product

import numpy as np

from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour.beats import beat_logits
from vampnet_onnx.verify.numbers import metrics

from .case import Arrays, Case, Comparison, Computed, Outputs, Subject, tensors
from .random import Random, made_audio


class BeatTracker(Subject):
    """Logits are compared frame by frame."""

    names = ("beat_tracker",)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Try audio on and off the tracker's frames at every length, and a single sample."""
        samples = 1 << len(record.dim_list("channels"))
        lengths = {1, *(n * samples for n in matrix.frames)}
        lengths |= {(n - 1) * samples + samples // 3 for n in matrix.frames}
        found = product(matrix.seeds, matrix.batches, sorted(lengths - {0}))
        return [Case(record.id, *extents) for extents in found]

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make audio, float32 [batch, 1, samples]."""
        return {"audio": made_audio(Random(case.id), case.batch, case.length)}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Divide by the peak and track."""
        if models.tracker is None:
            raise ValueError("the reference needs wavebeat.pth")
        (audio,) = tensors(inputs, models)
        return Computed({"logits": beat_logits(audio, models.tracker).numpy()})

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare logits."""
        r, e = expected.outputs["logits"], export["logits"]
        return Comparison(
            metrics={**metrics.float_metrics(r, e), **metrics.nonfinite(r, e)},
            quantity="logits",
            error=np.abs(e.astype(np.float64) - r).max(axis=0),
            rows=["beats", "downbeats"],
            unit="frames",
            reference=r,
            export=e,
            message=metrics.nonfinite_message(r, e),
        )


SUBJECTS = (BeatTracker(),)
