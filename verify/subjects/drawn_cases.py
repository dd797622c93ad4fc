"""Cases of the drawn components: audio processor, mask generator, sampler.

Their inputs are options as much as data, so a case has a setting beside its extents.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, product

import numpy as np

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord

from .random import Random, integer_dim, made_audio

DRAWN = ("audio_processor", "mask_generator", "sampler")

Arrays = dict[str, np.ndarray]
Options = dict[str, object]
Extent = tuple[int, int, int, int, str]
"""Seed, batch, length, codebooks and setting of a case."""

# The last one is that of the last case, whose outputs must all vary with the seed.
AUDIO = ("mono", "clicks", "silent", "three", "fading", "stereo")
MASKS = (
    "published",
    "cosine",
    "inpaint",
    "beyond",
    "onsets",
    "beats",
    "or",
    "stretch",
    "everything",
)
SAMPLING = (
    "argmax",
    "thirds",
    "top_p",
    "top_k",
    "typical",
    "all_filters",
    "last_step",
    "few_masked",
    "cold",
    "plain",
)

_CHANNELS = {"three": 3, "stereo": 2}
# Seconds: around the 0.4 s of a gating block and the 0.5 s that loudness needs; over a second.
_SECONDS = (0.21, 0.4, 0.45, 0.5, 1.37)


def audio_rate(component: ComponentRecord) -> int:
    """Return the rate in Hz of the audio that an audio processor takes."""
    own = integer_dim(component.dims, "sample_rate")
    return int(component.variant.removeprefix("from_")) if component.variant else own


def settings(component: ComponentRecord) -> tuple[str, ...]:
    """Return the settings in which a component is tried; none for what has no options."""
    return {"mask_generator": MASKS, "sampler": SAMPLING}.get(component.name, ())


def extents(component: ComponentRecord, matrix: VerifySection) -> Iterator[Extent]:
    """Yield the extents of every case, in a fixed order.

    Masks and sampling meet every setting at every length and seed, batches in turn; audio
    meets the settings in turn, at every length, batch and seed.

    Args:
        component: from the manifest.
        matrix: seeds, frames and batches.
    """
    books, lengths = _codebooks(component), _lengths(component, matrix.frames)
    if component.name == "audio_processor":
        found = list(product(matrix.seeds, matrix.batches, lengths))
        for i, (seed, batch, length) in enumerate(found):
            # Counted from the end, so that the last case has the last setting.
            yield seed, batch, length, books, AUDIO[(i - len(found)) % len(AUDIO)]
        return
    batches = cycle(matrix.batches)
    for seed, length, setting in product(matrix.seeds, lengths, settings(component)):
        yield seed, next(batches), length, books, setting


def inputs(
    component: ComponentRecord,
    random: Random,
    batch: int,
    length: int,
    codebooks: int,
    setting: str,
) -> Arrays:
    """Make the input arrays of a case.

    Args:
        component: from the manifest.
        random: seeded by the case's name.
        batch: items.
        length: frames, or samples.
        codebooks: given; 0 for audio.
        setting: one of those above.
    """
    if component.name == "audio_processor":
        return {"audio": _audio(random, batch, length, setting)}
    shape = (batch, codebooks, length)
    if component.name == "mask_generator":
        return _mask_inputs(random, shape, setting)
    vocab = integer_dim(component.dims, "codebook_size")
    return _sampler_inputs(random, shape, vocab, setting)


def _codebooks(component: ComponentRecord) -> int:
    books = integer_dim(component.dims, "n_codebooks")
    # About as many as a coarse model predicts: the sampler's cost goes with their number.
    return {"audio_processor": 0, "mask_generator": books, "sampler": 1 + books // 4}[
        component.name
    ]


def _lengths(component: ComponentRecord, frames: list[int]) -> list[int]:
    if component.name != "audio_processor":
        return frames
    rate = audio_rate(component)
    own = integer_dim(component.dims, "sample_rate")
    seconds = [int(rate * s) for s in _SECONDS]
    least = -(-rate // own)  # what leaves one sample at the codec's rate
    if component.variant:
        return sorted({least, *seconds[1::3]})
    hop = int(np.prod(component.dims["decoder_rates"]))
    samples = [n * hop + off for n in frames for off in (0, 1)]
    return sorted({least, *seconds, *samples})


def _audio(random: Random, batch: int, samples: int, setting: str) -> np.ndarray:
    channels = _CHANNELS.get(setting, 1)
    audio = np.concatenate([made_audio(random, batch, samples) for _ in range(channels)], 1)
    # Every item at a level of its own.
    audio *= (random.integers((batch, 1, 1), 15) + 1).astype(np.float32) / np.float32(16)
    if setting == "silent":
        audio *= np.float32(0)
    if setting == "fading":  # its end is under the relative gate, and then the absolute one
        audio *= (np.float32(2) ** -(np.arange(samples) * 20 // samples)).astype(np.float32)
    if setting == "clicks":  # so quiet but for them that they exceed full scale afterwards
        where = random.unit((batch, 1, samples)) < np.float32(4 / samples)
        audio = np.where(where, np.float32(0.75), audio * np.float32(2**-6))
    return audio


def _mask_inputs(random: Random, shape: tuple[int, int, int], setting: str) -> Arrays:
    _, books, frames = shape
    integers = (
        "prefix_frames",
        "suffix_frames",
        "periodic_prompt",
        "roll",
        "onset_mask_width",
        "beat_before",
        "beat_after",
        "n_conditioning_codebooks",
    )
    found: Options = {
        "codes": random.integers(shape, 1 << 10),
        "rand_mask_intensity": np.float32(1.0),
        "rand_mask_cosine": np.bool_(False),
        **dict.fromkeys(integers, np.int64(0)),
        "periodic_prompt_width": np.int64(1),
        "onset_frames": random.integers((frames // 9,), frames),
        "beat_frames": random.integers((frames // 12,), frames),
        "combine_or": np.bool_(False),
        "dropout": np.float64(0.0),
        "upper_codebook_mask": np.int64(books),
        "time_stretch_factor": np.int64(1),
        "uniform": random.unit(shape),
        "dropped_frames": random.integers((frames,), frames),
    }
    found |= _mask_options(random, books, frames)[setting]
    return {name: np.asarray(value) for name, value in found.items()}


def _mask_options(random: Random, books: int, frames: int) -> dict[str, Options]:
    """Return what each setting changes of a mask that masks everything."""

    def number(below: int) -> np.ndarray:
        return random.integers((), below)

    period = number(9) + 2
    periodic: Options = {
        "periodic_prompt": period,
        "periodic_prompt_width": number(5),
        "roll": number(int(period)),
    }
    intensity: Options = {"rand_mask_intensity": random.unit(())}
    several: Options = {**intensity, **periodic, "dropout": np.float64(0.2)}
    onsets: Options = {"onset_mask_width": number(3) + 1}
    beats: Options = {"beat_before": number(3), "beat_after": number(3) + 1}
    kept: Options = {
        "n_conditioning_codebooks": number(books + 1),
        "upper_codebook_mask": number(books + 1),
    }
    return {
        "published": {**periodic, "upper_codebook_mask": np.int64(3)},
        "cosine": {**intensity, "rand_mask_cosine": np.bool_(True)},
        "inpaint": {"prefix_frames": number(frames + 1), "suffix_frames": number(frames + 1)},
        "beyond": {"prefix_frames": np.int64(frames + 3), "suffix_frames": np.int64(2)},
        "onsets": onsets,
        "beats": beats,
        "or": {**intensity, **onsets, **kept, "combine_or": np.bool_(True)},
        "stretch": {**several, **kept, "time_stretch_factor": number(3) + 2},
        "everything": {**several, **onsets, **beats},
    }


def _sampler_inputs(
    random: Random, shape: tuple[int, int, int], vocab: int, setting: str
) -> Arrays:
    batch, books, frames = shape
    positions = books * frames
    steps = 3 if setting == "thirds" else int(random.integers((), 10)) + 3
    share = {"few_masked": np.float32(0.02), "last_step": np.float32(0.1)}
    masked = random.unit(shape) < share.get(setting, np.float32(0.8))
    codes = np.where(masked, vocab, random.integers(shape, vocab))
    filters = {
        "top_p": setting in ("top_p", "all_filters"),
        "top_k": setting in ("top_k", "all_filters"),
        "typical": setting in ("typical", "all_filters"),
    }
    draws = setting != "argmax"
    # At the start more was masked than is now; at two thirds of an even number the schedule
    # is one rounding below the half of it.
    at_start = masked.sum(axis=(1, 2)) + random.integers((batch,), positions)
    at_start += at_start % 2 if setting == "thirds" else 0
    found: Options = {
        "logits": (random.unit((batch, vocab, positions)) - np.float32(0.5)) * np.float32(16),
        "codes": codes,
        "step": np.int64(steps - 1 if setting == "last_step" else steps // 3),
        "steps": np.int64(steps),
        "at_start": at_start,
        "temperature": np.float32(0.5 if setting == "cold" else 1.0),
        "mask_temperature": np.float32(0.0 if setting == "cold" else 10.5),
        "sample_cutoff": np.float64(1.0 if draws else 0.1),
        "top_k": np.int64(1 + vocab // 8 if filters["top_k"] else 0),
        "top_p": np.float32(0.8 if filters["top_p"] else 1.0),
        "typical_filtering": np.bool_(filters["typical"]),
        "typical_mass": np.float32(0.6 if setting == "all_filters" else 0.4),
        "typical_min_tokens": np.int64(1 + vocab // (4 if setting == "all_filters" else 16)),
        "exponential": _open_unit(random, (batch * positions if draws else 0, vocab)),
        "uniform": _open_unit(random, (batch, positions)),
    }
    return {name: np.asarray(value) for name, value in found.items()}


def _open_unit(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 within (0, 1), neither end included."""
    below = (1 << 24) - 1
    return ((random.integers(shape, below) + 1) / float(1 << 24)).astype(np.float32)
