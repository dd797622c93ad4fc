"""What a whole generation is asked for: its options, and every sampling step it takes."""

from dataclasses import dataclass

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.settings import (
    Mode,
    VampSettings,
    generation_settings,
    vamp_settings,
)
from vampnet_onnx.pipeline.version.components import Codec

NOWHERE = -1  # in what a step made: no code of this step

SETTINGS = ("published", "filtered", "stretched")

# Two chunks of the coarse model, three of the fine one, the last one of each shorter.
FRAMES = 40
_COARSE_CHUNK = 25
_C2F_CHUNK = 16


@dataclass(frozen=True)
class Step:
    """Where a sampling step happens.

    Attributes:
        number: of the step in its generation, from 0.
        first_codebook: that it predicts; it predicts all from there to its own last.
        start: first frame of the chunk.
    """

    component: str
    number: int
    first_codebook: int
    last_codebook: int
    start: int
    stop: int


def codec_facts(record: ComponentRecord) -> Codec:
    """Return what a generation must know of the codec."""
    names = ("sample_rate", "hop_length", "n_codebooks", "codebook_size")
    return Codec(*map(record.dim, names))


def options(setting: int, batch: int, codec: Codec) -> VampSettings:
    """Return the options of a setting: its index in `SETTINGS`."""
    name = SETTINGS[setting]
    coarse = generation_settings(steps=4)
    if name == "filtered":
        coarse = generation_settings(
            steps=4,
            mode=Mode.CORRECTED,
            temperature=0.8,
            sample_cutoff=0.5,
            top_p=0.9,
            mask_temperature=3.0,
        )
    frame_s = codec.hop_length / codec.sample_rate
    twice = 2 if name == "stretched" else 1
    return vamp_settings(
        coarse,
        batch_size=batch,
        feedback_steps=twice,
        time_stretch_factor=twice,
        # Half a frame less, so that rounding up gives the frames meant.
        coarse_chunk_s=(_COARSE_CHUNK - 0.5) * frame_s,
        c2f_chunk_s=(_C2F_CHUNK - 0.5) * frame_s,
    )


def steps_of(record: ComponentRecord, settings: VampSettings, frames: int) -> list[Step]:
    """Return every sampling step of a generation, in order."""
    books = record.dim("n_codebooks")
    coarse = record.dim("n_coarse")
    found = [
        Step("coarse", number, 0, coarse, start, min(start + _COARSE_CHUNK, frames))
        for _ in range(settings.feedback_steps)
        for start in range(0, frames, _COARSE_CHUNK)
        for number in range(settings.coarse.steps)
    ]
    if record.dim("n_fine", least=0):
        found += [
            Step("c2f", number, coarse, books, start, min(start + _C2F_CHUNK, frames))
            for start in range(0, frames, _C2F_CHUNK)
            for number in range(settings.c2f.steps)
        ]
    return found
