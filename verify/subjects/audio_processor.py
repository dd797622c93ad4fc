"""The audio processor, in all its rates: audio to what the codec takes, and its loudness."""

from itertools import product

import numpy as np
import torch

from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour.audio import loudness, preprocess, resample
from vampnet_onnx.verify.numbers import metrics

from .case import Arrays, Case, Comparison, Computed, Outputs, Subject
from .codec import codec_of
from .random import Random, made_audio

# The last one is that of the last case, whose outputs must all vary with the seed.
KINDS = ("mono", "clicks", "silent", "three", "fading", "stereo")
_CHANNELS = {"three": 3, "stereo": 2}
# Seconds: around the 0.4 s of a gating block and the 0.5 s that loudness needs; over a second.
_SECONDS = (0.21, 0.4, 0.45, 0.5, 1.37)


class AudioProcessor(Subject):
    """Prepared audio is compared sample by sample, and the loudness by itself."""

    names = ("audio_processor",)
    has_rounding = False  # it has no weights
    settings = KINDS

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Try every length, batch and seed, the kinds of audio in turn."""
        found = list(product(matrix.seeds, matrix.batches, _lengths(record, matrix.frames)))
        return [
            # Counted from the end, so that the last case has the last kind.
            Case(record.id, *extents, setting=KINDS[(i - len(found)) % len(KINDS)])
            for i, extents in enumerate(found)
        ]

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make audio, float32 [batch, channels, samples], every item at a level of its own."""
        random, batch, samples = Random(case.id), case.batch, case.length
        channels = range(_CHANNELS.get(case.setting, 1))
        audio = np.concatenate([made_audio(random, batch, samples) for _ in channels], 1)
        audio *= (random.integers((batch, 1, 1), 15) + 1).astype(np.float32) / np.float32(16)
        if case.setting == "silent":
            audio *= np.float32(0)
        if case.setting == "fading":  # its end is under the relative gate, then the absolute
            audio *= (np.float32(2) ** -(np.arange(samples) * 20 // samples)).astype(
                np.float32
            )
        if case.setting == "clicks":  # so quiet but for them that they exceed full scale after
            where = random.unit((batch, 1, samples)) < np.float32(4 / samples)
            audio = np.where(where, np.float32(0.75), audio * np.float32(2**-6))
        return {"audio": audio}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Prepare as published."""
        audio, dims = torch.from_numpy(inputs["audio"]), codec_of(models).dims
        mono = resample(audio, _rate(record), dims.sample_rate).mean(dim=1, keepdim=True)
        return Computed(
            {
                "prepared": preprocess(audio, _rate(record), dims).numpy(),
                "loudness": loudness(mono, dims.sample_rate).numpy(),
            }
        )

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare audio and loudness."""
        r, e = expected.outputs["prepared"], export["prepared"]
        levels = expected.outputs["loudness"], export["loudness"]
        values = [
            np.concatenate([x.ravel(), level]) for x, level in zip((r, e), levels, strict=True)
        ]
        return Comparison(
            metrics={
                **metrics.float_metrics(r, e),
                "loudness_error": metrics.max_abs(*levels),
                **metrics.nonfinite(*values),
            },
            quantity="prepared audio",
            error=np.abs(e.astype(np.float64) - r)[:, 0],
            rows=[f"item {i}" for i in range(r.shape[0])],
            unit="samples",
            reference=r,
            export=e,
            message=metrics.nonfinite_message(*values),
        )


SUBJECTS = (AudioProcessor(),)


def _rate(record: ComponentRecord) -> int:
    """Return the rate in Hz of the audio that goes in."""
    own = record.dim("sample_rate")
    return int(record.variant.removeprefix("from_")) if record.variant else own


def _lengths(record: ComponentRecord, frames: list[int]) -> list[int]:
    """Return samples: few, around the filters' blocks, and on and off the hop."""
    rate = _rate(record)
    seconds = [int(rate * s) for s in _SECONDS]
    # What leaves one sample at the codec's rate.
    least = -(-rate // record.dim("sample_rate"))
    if record.variant:
        return sorted({least, *seconds[1::3]})
    hop = record.hop_length
    return sorted({least, *seconds, *(n * hop + off for n in frames for off in (0, 1))})
