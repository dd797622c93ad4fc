"""Building a mask on the artifacts: options and seed in, the mask generator's graph run.

A mask is int64 of the codes' shape: 1 where a code is generated anew, 0 where it is kept.
"""

from collections.abc import Sequence

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import BeatSettings, MaskSettings
from vampnet_onnx.pipeline.version.components import Codec, Components

from .checks import require_codes
from .noise import MASK, Integers, PhiloxNoise


def build_mask(
    components: Components,
    codes: Integers,
    settings: MaskSettings,
    *,
    seed: int,
    onsets: Sequence[int] | None,
    beats: Sequence[int],
    around_beats: BeatSettings,
) -> Integers:
    """Compose the published mask.

    Random AND inpainting AND periodic (with a random roll) AND, where asked for, onsets and
    beats; then dropout, then the conditioning codebooks kept, then the upper codebooks masked.

    What is random is drawn from the seed's stream `pipeline.steps.noise.MASK`, in this order:
    one uniform number a code; the roll, an integer below the period, unless that is 0; the
    dropped steps, int(T * dropout) integers below T.

    Args:
        codes: int64 [B, codebooks, T]; only their shape counts.
        onsets: frames, for `onset_mask_width` above 0.
        beats: frames, kept with what `around_beats` says.

    Returns:
        int64 [B, codebooks, T].

    Raises:
        InputError: codes of another codec, an onset mask without onsets, or a prefix or
            suffix beyond the clip.
    """
    codec, frames = components.codec, codes.shape[-1]
    require_codes(codes, n_codebooks=codec.n_codebooks, mask_token=codec.codebook_size)
    _require_within(codec, frames, settings)
    if settings.onset_mask_width > 0 and onsets is None:
        raise InputError(
            f"onset_mask_width = {settings.onset_mask_width} needs the onsets of the audio"
        )
    noise = PhiloxNoise(seed, stream=MASK)
    uniform = noise.uniform(codes.shape)
    roll = 0
    if settings.periodic_prompt:
        roll = int(noise.integers(settings.periodic_prompt, (1,))[0])
    dropped = noise.integers(frames, (int(frames * settings.dropout),))
    numbers = {
        "prefix_frames": codec.frames_of(settings.prefix_s),
        "suffix_frames": codec.frames_of(settings.suffix_s),
        "periodic_prompt": settings.periodic_prompt,
        "periodic_prompt_width": settings.periodic_prompt_width,
        "roll": roll,
        "onset_mask_width": settings.onset_mask_width,
        "beat_before": codec.frames_of(around_beats.before_beat_s),
        "beat_after": codec.frames_of(around_beats.after_beat_s),
        "n_conditioning_codebooks": settings.n_conditioning_codebooks,
        "upper_codebook_mask": settings.upper_codebook_mask,
        "time_stretch_factor": 1,  # stretching belongs to vamping, after the batch is made
    }
    return components.session("mask_generator").run(
        {
            **{name: np.array(value, np.int64) for name, value in numbers.items()},
            "codes": np.zeros(codes.shape, np.int64),
            "rand_mask_intensity": np.array(settings.rand_mask_intensity, np.float32),
            "rand_mask_cosine": np.array(False),
            "onset_frames": np.array(onsets or [], np.int64),
            "beat_frames": np.array(beats, np.int64),
            "combine_or": np.array(False),
            "dropout": np.array(settings.dropout, np.float64),
            "uniform": uniform,
            "dropped_frames": dropped,
        }
    )["mask"]


def _require_within(codec: Codec, frames: int, settings: MaskSettings) -> None:
    clip = f"the clip, which lasts {codec.seconds_of(frames):.2f} s"
    for name in ("prefix_s", "suffix_s"):
        seconds = getattr(settings, name)
        if codec.frames_of(seconds) > frames:
            raise InputError(f"{name} = {seconds} is longer than {clip}; make it shorter")
    if codec.frames_of(settings.prefix_s) + codec.frames_of(settings.suffix_s) > frames:
        raise InputError(
            f"prefix_s = {settings.prefix_s} and suffix_s = {settings.suffix_s} together are"
            f" longer than {clip}; make them shorter"
        )
