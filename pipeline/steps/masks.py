"""Building a mask on the artifacts: options and numbers in, the mask generator's graph run.

A mask is int64 of the codes' shape: 1 where a code is generated anew, 0 where it is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import BeatSettings, MaskSettings
from vampnet_onnx.pipeline.version.components import Codec, Components

from .checks import require_codes
from .noise import Draws, Integers


@dataclass(frozen=True)
class Beats:
    """Where the beats of a clip are, and what a mask keeps of them.

    Attributes:
        times: of all beats, seconds.
        downbeats: of the first of each bar, seconds; None where nobody knows.
    """

    times: Sequence[float]
    downbeats: Sequence[float] | None
    settings: BeatSettings

    def frames(self, codec: Codec) -> list[int]:
        """Return the frames of the beats that are taken, upbeats first.

        Raises:
            InputError: none is, or the settings tell downbeats from others and nobody knows.
        """
        chosen = self.settings
        every, of_bars = chosen.beat_downsample_factor, chosen.downbeat_downsample_factor
        differ = chosen.mask_upbeats != chosen.mask_downbeats or every != of_bars
        if self.downbeats is None and differ:
            raise InputError(
                "which beats are the first of a bar is not known, and the options tell them"
                " from the others; write the beat's number in its bar behind each time"
            )
        downbeats = [codec.frames_of(time) for time in self.downbeats or ()]
        upbeats = [codec.frames_of(time) for time in self.times]
        upbeats = [frame for frame in upbeats if frame not in set(downbeats)]
        taken = upbeats[::every] if chosen.mask_upbeats else []
        taken += downbeats[::of_bars] if chosen.mask_downbeats else []
        if not taken:
            raise InputError(
                f"of {len(upbeats)} upbeats and {len(downbeats)} downbeats the options take"
                " none"
            )
        return taken


def build_mask(
    components: Components,
    codes: Integers,
    settings: MaskSettings,
    *,
    draws: Draws,
    onsets: Sequence[int] | None,
    beats: Beats | None,
) -> Integers:
    """Compose the published mask.

    Random AND inpainting AND periodic (with a random roll) AND, where asked for, onsets; then
    dropout, then the conditioning codebooks kept, then the upper codebooks masked.  Beats are
    laid over that, and the upper codebooks masked once more behind them, as in the app.

    Args:
        codes: int64 [B, codebooks, T]; only their shape counts.
        draws: gives the random numbers.
        onsets: frames, for `onset_mask_width` above 0.
        beats: laid over the mask, if any.  Every mask has the codes' length; the published
            one of beats is a step longer for one length in thirteen.

    Returns:
        int64 [B, codebooks, T].

    Raises:
        InputError: codes of another codec, an onset mask without onsets, a prefix or suffix
            beyond the clip, beats of which none is taken, or artifacts of a version that knew
            other beats.
    """
    codec, frames = components.codec, codes.shape[-1]
    require_codes(codes, n_codebooks=codec.n_codebooks, mask_token=codec.codebook_size)
    _require_within(codec, frames, settings)
    if settings.onset_mask_width > 0 and onsets is None:
        raise InputError(
            f"onset_mask_width = {settings.onset_mask_width} needs the onsets of the audio"
        )
    known = [item.name for item in components.record("mask_generator").inputs]
    if "beat_uniform" not in known:
        raise InputError(
            f"{components.artifacts.folder}: mask_generator was exported by a version that"
            " laid beats under the dropout; export again"
        )
    uniform, roll, dropped = draws.of_mask(codes.shape, settings)
    before = after = 0
    beat_frames = list[int]()
    if beats is not None:
        beat_frames = beats.frames(codec)
        before = codec.frames_of(beats.settings.before_beat_s)
        after = codec.frames_of(beats.settings.after_beat_s)
    beat_uniform = draws.of_beats(frames, beat_frames, before, after)
    numbers = {
        "prefix_frames": codec.frames_of(settings.prefix_s),
        "suffix_frames": codec.frames_of(settings.suffix_s),
        "periodic_prompt": settings.periodic_prompt,
        "periodic_prompt_width": settings.periodic_prompt_width,
        "roll": roll,
        "onset_mask_width": settings.onset_mask_width,
        "beat_before": before,
        "beat_after": after,
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
            "beat_frames": np.array(beat_frames, np.int64),
            "beat_dropout": np.array(beats.settings.beat_dropout if beats else 0, np.float64),
            "beat_invert": np.array(beats.settings.beat_invert if beats else True),
            "beat_uniform": beat_uniform,
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
