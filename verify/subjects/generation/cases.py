"""Cases of whole generations: codes in, a variation of them and its audio out.

A generation is no file but several at work, so its record is made here from the manifest, not
read from it.  Everything random comes from the case's seed on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord, FileRecord, Manifest
from vampnet_onnx.configs.settings import (
    Mode,
    VampSettings,
    generation_settings,
    vamp_settings,
)
from vampnet_onnx.pipeline.version.components import Codec
from vampnet_onnx.verify.subjects.random import Random, integer_dim

GENERATION = "generation"

NOWHERE = -1  # in what a step made: no code of this step

SETTINGS = ("published", "filtered", "stretched")

# Two chunks of the coarse model, three of the fine one, the last one of each shorter.
_FRAMES = 40
_COARSE_CHUNK = 25
_C2F_CHUNK = 16

NEEDED = ("coarse", "sampler", "codec_decoder")
_KEPT_EVERY = 7  # frames, as the published periodic prompt


@dataclass(frozen=True)
class Step:
    """Where a sampling step happens.

    Attributes:
        component: ``coarse`` or ``c2f``.
        number: of the step in its generation, from 0.
        first_codebook: that it predicts; it predicts all from there to its own last.
        last_codebook: one past the last.
        start: first frame of the chunk.
        stop: one past its last frame.
    """

    component: str
    number: int
    first_codebook: int
    last_codebook: int
    start: int
    stop: int


def parts_of(record: ComponentRecord, manifest: Manifest) -> list[ComponentRecord]:
    """Return the components at work in one: itself, or several in a generation."""
    if record.name != GENERATION:
        return [record]
    found = (manifest.component(name) for name in (*NEEDED, "c2f"))
    return [part for part in found if part is not None]


def generation_record(manifest: Manifest) -> ComponentRecord | None:
    """Return the record of whole generations; None if a part of them is missing."""
    found = [manifest.component(name) for name in NEEDED]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return None
    coarse, _, decoder = parts
    c2f = manifest.component("c2f")
    files = [part.file.name for part in (*parts, *([c2f] if c2f else []))]
    return ComponentRecord(
        name=GENERATION,
        file=FileRecord(name=", ".join(files), sha256="", size=0),
        inputs=(),
        outputs=(),
        opset=decoder.opset,
        dims={
            "n_codebooks": decoder.dims["n_codebooks"],
            "codebook_size": decoder.dims["codebook_size"],
            "sample_rate": decoder.dims["sample_rate"],
            "hop_length": int(np.prod(decoder.dims["decoder_rates"])),
            "n_coarse": coarse.dims["n_codebooks"],
            "n_fine": integer_dim(decoder.dims, "n_codebooks")
            - integer_dim(coarse.dims, "n_codebooks")
            if c2f
            else 0,
        },
        passes=(),
    )


def codec_of(record: ComponentRecord) -> Codec:
    """Return what a generation must know of the codec."""
    names = ("sample_rate", "hop_length", "n_codebooks", "codebook_size")
    return Codec(*(integer_dim(record.dims, name) for name in names))


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
    """Return every sampling step of a generation, in order.

    Args:
        record: of the generation.
        settings: its options.
        frames: of the result.
    """
    books = integer_dim(record.dims, "n_codebooks")
    coarse = integer_dim(record.dims, "n_coarse")
    found = [
        Step("coarse", number, 0, coarse, start, min(start + _COARSE_CHUNK, frames))
        for _ in range(settings.feedback_steps)
        for start in range(0, frames, _COARSE_CHUNK)
        for number in range(settings.coarse.steps)
    ]
    if integer_dim(record.dims, "n_fine"):
        found += [
            Step("c2f", number, coarse, books, start, min(start + _C2F_CHUNK, frames))
            for start in range(0, frames, _C2F_CHUNK)
            for number in range(settings.c2f.steps)
        ]
    return found


def extents(
    component: ComponentRecord, matrix: VerifySection
) -> Iterator[tuple[int, int, int, int, str]]:
    """Yield seed, batch, frames, codebooks and setting of every case.

    One a seed: batches and settings in turn.
    """
    books = integer_dim(component.dims, "n_codebooks")
    for i, seed in enumerate(matrix.seeds):
        batch, setting = matrix.batches[i % len(matrix.batches)], SETTINGS[i % len(SETTINGS)]
        frames = _FRAMES // 2 if setting == "stretched" else _FRAMES
        yield seed, batch, frames, books, setting


def inputs(
    component: ComponentRecord,
    random: Random,
    seed: int,
    batch: int,
    frames: int,
    setting: str,
) -> dict[str, np.ndarray]:
    """Make the input of a case.

    Every seventh frame of the coarse codebooks is kept, the rest and all fine ones are made
    anew.

    Returns:
        ``codes`` and ``mask``, int64 [batch, codebooks, frames], and the scalars ``seed`` of
        the noise and ``setting``, an index in `SETTINGS`.
    """
    dims = component.dims
    shape = (batch, integer_dim(dims, "n_codebooks"), frames)
    mask = np.ones(shape, np.int64)
    mask[:, : integer_dim(dims, "n_coarse"), ::_KEPT_EVERY] = 0
    return {
        "codes": random.integers(shape, integer_dim(dims, "codebook_size")),
        "mask": mask,
        "seed": np.array(seed, np.int64),
        "setting": np.array(SETTINGS.index(setting), np.int64),
    }
