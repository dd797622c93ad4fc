"""Options of masks, generation and vamping, with the published defaults.

The defaults are in ``configs/vamp_defaults.toml`` and nowhere in code; the functions here
lay a caller's choices over them.
"""

import math
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, TypeVar

from .errors import InputError, nearest
from .packaged import shipped

_DEFAULTS = "vamp_defaults.toml"

# Options that have another name here than in the published package; both are taken, and
# messages have the published one.
_PUBLISHED = {
    "sampling_steps": "steps",
    "ncc": "n_conditioning_codebooks",
    "coarse_chunk_size_s": "coarse_chunk_s",
    "coarse2fine_chunk_size_s": "c2f_chunk_s",
}

S = TypeVar("S", "MaskSettings", "BeatSettings", "GenerationSettings", "VampSettings")


class Mode(Enum):
    """How to treat what looks like defects of the published generation.

    ``REFERENCE`` keeps them, for parity: typical filtering and top-k are asked for and have
    no effect, batch items share one count of masked codes, classifier-free guidance changes
    nothing but the noise.  ``CORRECTED`` does what the options say.
    """

    REFERENCE = "reference"
    CORRECTED = "corrected"


_FLOAT32 = 3.4e38  # what graphs take the other numbers in
_COUNT = 2**31 - 1  # steps, entries and the like: graphs take int64, and sums of them
_BEAT_S = 60.0  # no beat is as long; of each so many draws are made


@dataclass(frozen=True)
class MaskSettings:
    """Options of the mask; from `mask_settings`.

    Attributes:
        rand_mask_intensity: probability that a code is masked at all, 0 to 1.
        prefix_s: seconds kept at the start; `suffix_s` those at the end.
        periodic_prompt: keep every so many steps; 0 keeps none.
        periodic_prompt_width: steps kept around each prompt.
        onset_mask_width: steps kept before, and from, each onset; 0 keeps none.
        dropout: fraction of the time steps that is masked whatever kept them, 0 to 1.
        upper_codebook_mask: codebooks from this one up are masked.
        n_conditioning_codebooks: leading codebooks that are kept.
    """

    rand_mask_intensity: float
    prefix_s: float
    suffix_s: float
    periodic_prompt: int
    periodic_prompt_width: int
    onset_mask_width: int
    dropout: float
    upper_codebook_mask: int
    n_conditioning_codebooks: int

    def __post_init__(self) -> None:
        _require(self, 0, math.inf, *(f.name for f in fields(self)))
        _require(self, 0, 1, "rand_mask_intensity", "dropout")


@dataclass(frozen=True)
class BeatSettings:
    """What a mask keeps of the beats, by the published names; from `beat_settings`.

    Attributes:
        before_beat_s: seconds kept before each beat; `after_beat_s` those from it on.
        mask_upbeats: take the beats that are no downbeats; `mask_downbeats` those that are.
        beat_downsample_factor: take every so many of the upbeats;
            `downbeat_downsample_factor` of the downbeats.
        beat_dropout: probability that a step of a beat is not kept, published as ``dropout``.
        beat_invert: keep the beats, published as ``invert``.  Otherwise they are what may be
            made anew, and what lies between is kept.
    """

    before_beat_s: float
    after_beat_s: float
    mask_upbeats: bool
    mask_downbeats: bool
    beat_downsample_factor: int
    downbeat_downsample_factor: int
    beat_dropout: float
    beat_invert: bool

    def __post_init__(self) -> None:
        _require(self, 0, _BEAT_S, "before_beat_s", "after_beat_s")
        _require(self, 1, math.inf, "beat_downsample_factor", "downbeat_downsample_factor")
        _require(self, 0, 1, "beat_dropout")
        if self.before_beat_s + self.after_beat_s == 0:
            raise InputError(
                "before_beat_s and after_beat_s are both 0, so beats would have no effect"
            )
        if not (self.mask_upbeats or self.mask_downbeats):
            raise InputError(
                "mask_upbeats and mask_downbeats are both off, so beats would have no effect"
            )


@dataclass(frozen=True)
class GenerationSettings:
    """Options of a generation; from `generation_settings`.

    Attributes:
        temperature: divides the logits before the softmax; 0 leaves them as they are.
        mask_temperature: scale of the Gumbel noise in the remasking, which fades to 0.
        sample_cutoff: draw tokens while step / steps is at most this, else take the argmax.
        typical_filtering: keep typical entries only.  No effect in reference mode.
        typical_mass: their cumulative probability.
        typical_min_tokens: how many are kept at least.
        top_k: keep this many entries, or None.  No effect in reference mode.
        top_p: keep entries up to this cumulative probability, or None.
        cfg_guidance: scale of classifier-free guidance, or None.  Reference mode: only
            changes the noise.
    """

    steps: int
    temperature: float
    mask_temperature: float
    sample_cutoff: float
    typical_filtering: bool
    typical_mass: float
    typical_min_tokens: int
    mode: Mode = Mode.REFERENCE
    top_k: int | None = None
    top_p: float | None = None
    cfg_guidance: float | None = None

    def __post_init__(self) -> None:
        _require(self, 0, math.inf, "temperature", "mask_temperature", "typical_min_tokens")
        _require(self, 0, 1, "typical_mass", "top_p")
        _require(self, 1, math.inf, "steps", "top_k")
        _require(self, -math.inf, math.inf, "sample_cutoff", "cfg_guidance")


@dataclass(frozen=True)
class VampSettings:
    """Options of vamping; from `vamp_settings`.

    Attributes:
        c2f: options of the coarse-to-fine generation, which the published interface keeps at
            its own defaults whatever is asked for coarse.
        feedback_steps: times the coarse generation is fed its own result.
        time_stretch_factor: how many times longer the result is.
        reseed: begin the noise again in every chunk and feedback step of coarse, as the
            published ``vamp(seed=)`` does; coarse-to-fine goes on from the last of them.
        coarse_chunk_s: seconds the coarse model works on at a time.
        c2f_chunk_s: seconds the coarse-to-fine model works on at a time.
    """

    coarse: GenerationSettings
    c2f: GenerationSettings
    batch_size: int
    feedback_steps: int
    time_stretch_factor: int
    reseed: bool
    coarse_chunk_s: float
    c2f_chunk_s: float

    def __post_init__(self) -> None:
        _require(self, 1, math.inf, "batch_size", "feedback_steps", "time_stretch_factor")
        for name in ("coarse_chunk_s", "c2f_chunk_s"):
            if not 0 < getattr(self, name) < math.inf:
                told = _published(name)
                raise InputError(f"{told} = {getattr(self, name)} is not a positive time")


def mask_settings(**choices: Any) -> MaskSettings:
    """Return the published options of the mask with `choices` laid over them.

    Raises:
        InputError: a choice is unknown or out of range; so do the functions below.
    """
    return _settings(MaskSettings, "mask", choices)


def beat_settings(**choices: Any) -> BeatSettings:
    """Return the published options of beat masks with `choices` laid over them."""
    return _settings(BeatSettings, "beats", choices)


def generation_settings(**choices: Any) -> GenerationSettings:
    """Return the published options of generation with `choices` laid over them."""
    return _settings(GenerationSettings, "generation", choices)


def vamp_settings(coarse: GenerationSettings | None = None, **choices: Any) -> VampSettings:
    """Return the published options of vamping with `choices` laid over them.

    Args:
        coarse: options of the coarse generation, the published ones if None.  Its mode
            becomes that of the coarse-to-fine generation, too, and nothing else does.
    """
    coarse = coarse or generation_settings()
    c2f = generation_settings(**shipped(_DEFAULTS)["coarse_to_fine"], mode=coarse.mode)
    given = {"coarse": coarse, "c2f": c2f, **choices}
    return _settings(VampSettings, "vamp", given)


def _settings(kind: type[S], table: str, choices: dict[str, Any]) -> S:
    known, own = published_options(kind), dict[str, Any]()
    for name, value in choices.items():
        field = _PUBLISHED.get(name, name)
        if _published(field) not in known:
            raise InputError(
                f"unknown option {name!r}{nearest(name, known)}; known: {', '.join(known)}"
            )
        if field in own:
            raise InputError(f"{_published(field)} and {field} are one option; give one")
        own[field] = value
    return kind(**{**shipped(_DEFAULTS)[table], **own})


def published_options(kind: type[Any]) -> list[str]:
    """Return the options of a kind of settings, under their published names."""
    return [_published(field.name) for field in fields(kind)]


def other_options(settings: Any, than: Any) -> dict[str, Any]:
    """Return the options in which settings differ from others, under their published names."""
    return {
        _published(field.name): value
        for field in fields(settings)
        if (value := getattr(settings, field.name)) != getattr(than, field.name)
    }


def _published(field: str) -> str:
    return next((name for name, own in _PUBLISHED.items() if own == field), field)


def _require(settings: object, least: float, most: float, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        limit = _COUNT if isinstance(value, int) else _FLOAT32
        lowest, highest = max(least, -limit), min(most, limit)
        if value is not None and not lowest <= value <= highest:
            raise InputError(f"{_published(name)} = {value} is outside {lowest} to {highest}")
