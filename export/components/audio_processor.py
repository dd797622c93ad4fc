r"""The audio processor: audio to what the codec's encoder takes.

Mono, loudness of -24 LUFS, peak limit, padding to the hop; in its variants ``from_<rate>``
with resampling in front.  The arithmetic is that of ``models/behaviour/audio.py``; the
K-weighting is the recursion itself in float64, not a finite approximation.

The recursion runs over segments of a tenth of a second, the stride of the gating blocks, and
carries the filters' four state numbers z from one to the next.  In a segment x, cut into
blocks of L samples (n of them),

    u[k] = G x[k]                       what a block adds to the state behind it
    z[k] = M u + P z                    the state before each block, all of them at once
    y[k] = H x[k] + O z[k]              H: L x L Toeplitz of the impulse response
    z'   = E x + Q z                    the state behind the segment

and all that leaves a segment is the energy of y, and that of its first few samples: a gating
block is four segments, and those few more samples where 0.4 s is no multiple of the stride.
So memory beyond the audio itself is that of one segment, at any length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import Fact
from vampnet_onnx.export.graph.builder import GraphBuilder, Var
from vampnet_onnx.models import CodecDims
from vampnet_onnx.models.behaviour.audio import (
    LOUDNESS_FLOOR,
    LOUDNESS_OFFSET,
    PEAK_LIMIT,
    RELATIVE_GATE,
    SHORTEST_MEASURED,
    TARGET_LOUDNESS,
    Interpolator,
    gating,
    interpolator,
    interpolator_taps,
    k_weighting,
)

from .component import BuiltComponent, Exporter, codec_of, signature

NAME = "audio_processor"
USUAL_RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)

_BLOCK = 128
_MOST_TAPS = 1 << 22  # 16 MB; 8 to 44.1 kHz needs 0.2 MB


def audio_processor(dims: CodecDims, *, source_rate: int | None = None) -> BuiltComponent:
    """Describe the audio processor of a codec.

    Args:
        dims: of the codec; its rate and hop are the target.
        source_rate: Hz of the audio it takes; None is the codec's own rate.
    """
    resampling = None if source_rate is None else interpolator(source_rate, dims.sample_rate)
    weighting = Weighting.of_rate(dims.sample_rate)
    # What it takes to process a long clip in parts, by `mono` and `block_power`.
    facts: dict[str, Fact] = {"loudness_stride": gating(dims.sample_rate).stride}
    if resampling is not None:
        facts["resampling"] = [[resampling.old, resampling.new, resampling.width]]
    return BuiltComponent(
        name=NAME,
        variant="" if source_rate is None else variant_name(source_rate),
        inputs=(signature("audio", "float32", "batch", "channels", "samples"),),
        outputs=(
            signature("prepared", "float32", "batch", 1, "padded"),
            signature("loudness", "float32", "batch"),
            signature("mono", "float32", "batch", 1, "resampled"),
            signature("block_power", "float64", "batch", "blocks"),
        ),
        dims=dims,
        measured=lambda: facts,
        build=partial(_build, dims=dims, resampling=resampling, weighting=weighting),
    )


def variant_name(source_rate: int) -> str:
    """Return the variant that takes audio of a rate in Hz."""
    return f"from_{source_rate}"


def rate_of_variant(variant: str) -> int | None:
    """Undo `variant_name`; the standard variant, an empty name, has no rate."""
    return int(variant.removeprefix("from_")) if variant else None


def resampled_rates(dims: CodecDims, rates: Sequence[int] | None) -> list[int]:
    """Return the rates in Hz that a variant is made for, in order.

    Args:
        dims: of the codec.
        rates: those wanted; None for the usual ones, without those whose ratio to the codec's
            rate is so odd that the file would be large.

    Raises:
        InputError: a rate is wanted that would make a large file.
    """
    wanted = sorted(set(USUAL_RATES if rates is None else rates) - {dims.sample_rate})
    large = [rate for rate in wanted if interpolator_taps(rate, dims.sample_rate) > _MOST_TAPS]
    if large and rates is not None:
        raise InputError(
            f"no audio processor can be made for {large[0]} Hz: its ratio to the codec's"
            f" {dims.sample_rate} Hz is too odd; leave it out of export.rates, and resample"
            f" audio of that rate (sox IN -r {dims.sample_rate} OUT)"
        )
    return [rate for rate in wanted if rate not in large]


@dataclass(frozen=True)
class Weighting:
    """The matrices of the K-weighting over a segment, float64, as named above.

    Attributes:
        blocks: n.
        response: H [L, L].
        from_state: O [L, 4].
        to_state: G [4, L].
        states: M [4 n, 4 n].
        states_from_first: P [4 n, 4].
        last: E [4, segment].
        last_from_first: Q [4, 4].
    """

    blocks: int
    response: np.ndarray
    from_state: np.ndarray
    to_state: np.ndarray
    states: np.ndarray
    states_from_first: np.ndarray
    last: np.ndarray
    last_from_first: np.ndarray

    @classmethod
    def of_rate(cls, sample_rate: int) -> Weighting:
        """Compute them for a rate in Hz."""
        step, entry, out, through = _cascade(sample_rate)
        segment = gating(sample_rate).stride
        length = min(_BLOCK, segment)
        blocks = math.ceil(segment / length)
        powers = [np.eye(len(step))]
        for _ in range(max(segment, blocks * length)):
            powers.append(step @ powers[-1])
        impulse = np.array([through, *(out @ power @ entry for power in powers[: length - 1])])
        lag = np.arange(length)[:, None] - np.arange(length)
        n = len(step)
        between = np.zeros((blocks, n, blocks, n))
        for later in range(blocks):
            for earlier in range(later):
                between[later, :, earlier] = powers[(later - earlier - 1) * length]
        return cls(
            blocks=blocks,
            response=np.where(lag >= 0, impulse[np.maximum(lag, 0)], 0.0),
            from_state=np.stack([out @ power for power in powers[:length]]),
            to_state=_entering(powers, entry, length),
            states=between.reshape(blocks * n, blocks * n),
            states_from_first=np.concatenate([powers[k * length] for k in range(blocks)]),
            last=_entering(powers, entry, segment),
            last_from_first=powers[segment],
        )


def _entering(powers: Sequence[np.ndarray], entry: np.ndarray, length: int) -> np.ndarray:
    """Return what each of `length` samples adds to the state behind the last of them."""
    return np.stack([powers[length - 1 - i] @ entry for i in range(length)], axis=1)


def _cascade(sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return both filters as one system: z' = A z + B x, y = C z + D x.

    Each is in transposed direct form II; the second takes the first one's output.
    """
    (a1, b1, c1, d1), (a2, b2, c2, d2) = (
        _system(*filter_.tolist()) for filter_ in k_weighting(sample_rate)
    )
    step = np.block([[a1, np.zeros((2, 2))], [np.outer(b2, c1), a2]])
    return step, np.concatenate([b1, b2 * d1]), np.concatenate([d2 * c1, c2]), d1 * d2


def _system(
    b0: float, b1: float, b2: float, a1: float, a2: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    step = np.array([[-a1, 1.0], [-a2, 0.0]])
    return step, np.array([b1 - a1 * b0, b2 - a2 * b0]), np.array([1.0, 0.0]), b0


def _build(
    g: GraphBuilder,
    given: Mapping[str, Var],
    *,
    dims: CodecDims,
    resampling: Interpolator | None,
    weighting: Weighting,
) -> dict[str, Var]:
    mono = given["audio"].reduce("ReduceMean", 1, keep=True)
    if resampling is not None:
        with g.scope("resample"):
            mono = _resample(g, mono, resampling)
    with g.scope("loudness"):
        power = _block_power(g, mono, dims.sample_rate, weighting)
        with g.scope("gate"):
            loudness = _gated_level(power)
    with g.scope("normalise"):
        gain = ((-loudness + TARGET_LOUDNESS) * (math.log(10) / 20)).op("Exp")
        levelled = mono * gain.reshape(-1, 1, 1)
    with g.scope("limit_peak"):
        peak = levelled.op("Abs").reduce("ReduceMax", -1, keep=True)
        limited = levelled * (peak > PEAK_LIMIT).where(
            g.constant(PEAK_LIMIT, np.float32) / peak, 1.0
        )
    with g.scope("pad"):
        missing = -limited.extent(-1) % dims.hop_length
        return {
            "prepared": limited.pad(-1, 0, missing),
            "loudness": loudness,
            "mono": mono,
            "block_power": power,
        }


def _resample(g: GraphBuilder, mono: Var, by: Interpolator) -> Var:
    """Change the rate of mono, float32 [batch, 1, samples].

    The reference resamples every channel and then takes their mean.  Both are linear, so the
    order costs a rounding, and saves the work for all channels but one.
    """
    samples = mono.extent(-1)
    padded = mono.pad(-1, by.width, by.width + by.old, mode="edge")
    phases = padded.op("Conv", g.constant(by.kernels.numpy()[:, None]), strides=[by.old])
    joined = phases.transpose(0, 2, 1).reshape(0, 1, -1)
    return joined.slice(-1, 0, samples * by.new // by.old)


def _block_power(g: GraphBuilder, mono: Var, sample_rate: int, weighting: Weighting) -> Var:
    """Return every gating block's power, float64 [batch, blocks], of float32 [batch, 1, n]."""
    plan = gating(sample_rate)
    samples = mono.extent(-1)
    with g.scope("extent"):
        # Short audio is measured with silence behind it.
        seconds = samples.cast(np.float64) / float(sample_rate)
        missing = ((-seconds + SHORTEST_MEASURED) * float(sample_rate)).cast(np.int64)
        measured = samples + (seconds < SHORTEST_MEASURED).where(missing, 0)
        beyond = (measured - plan.length).maximum(0)
        count = (beyond + (plan.stride - 1)) // plan.stride + 1
        extra = plan.length - plan.segments * plan.stride
        segments = count + (plan.segments - 1 + (extra > 0))
    with g.scope("segments"):
        filled = mono.reshape(0, -1).pad(-1, 0, segments * plan.stride - samples)
        cut = filled.reshape(0, -1, plan.stride).transpose(1, 0, 2)
        valid = measured - g.range(segments) * plan.stride
    with g.scope("k_weighting"):
        energies = _energies(g, cut, valid, extra, weighting)
    with g.scope("blocks"):
        energy, *head = (item.transpose(1, 0) for item in energies)
        total = energy.slice(-1, 0, count)
        for i in range(1, plan.segments):
            total = total + energy.slice(-1, i, count + i)
        for first_few in head:
            total = total + first_few.slice(-1, plan.segments, count + plan.segments)
        return total / plan.scale


def _energies(
    g: GraphBuilder, segments: Var, valid: Var, extra: int, weighting: Weighting
) -> list[Var]:
    """Return the energy of each weighted segment, and of its first samples if asked for.

    Args:
        segments: float32 [segments, batch, stride].
        valid: samples of the measured audio left from each segment's start on, int64
            [segments].
        extra: how many first samples; 0 leaves their energy out.

    Returns:
        One or two of float64 [segments, batch].
    """
    stride = weighting.last.shape[1]
    length = weighting.response.shape[0]
    matrices = {
        name: g.constant(matrix.T)
        for name, matrix in vars(weighting).items()
        if name != "blocks"
    }
    order = weighting.last_from_first.shape[0]
    position = g.constant(np.arange(stride, dtype=np.int64))

    def segment(state: Var, elements: Sequence[Var]) -> tuple[Var, list[Var]]:
        x, left = elements[0].cast(np.float64), elements[1]
        blocks = x
        if weighting.blocks * length > stride:
            blocks = x.pad(-1, 0, weighting.blocks * length - stride)
        blocks = blocks.reshape(-1, weighting.blocks, length)
        added = (blocks @ matrices["to_state"]).reshape(-1, weighting.blocks * order)
        before = added @ matrices["states"] + state @ matrices["states_from_first"]
        before = before.reshape(-1, weighting.blocks, order)
        weighted = blocks @ matrices["response"] + before @ matrices["from_state"]
        weighted = weighted.reshape(-1, weighting.blocks * length)
        if weighting.blocks * length > stride:
            weighted = weighted.slice(-1, 0, stride)
        heard = (position < left).where(weighted, 0.0)
        after = x @ matrices["last"] + state @ matrices["last_from_first"]
        parts = [heard, heard.slice(-1, 0, extra)] if extra else [heard]
        return after, [item.reduce("ReduceSumSquare", -1) for item in parts]

    start = g.constant(np.zeros((1, order))).op("Expand", g.vector(segments.extent(1), order))
    _, energies = g.scan(
        segment,
        start,
        [segments, valid],
        shapes=[("batch", order), ("batch", stride), ()],
        results=[("batch",)] * (2 if extra else 1),
    )
    return energies


def _gated_level(power: Var) -> Var:
    """Return the level of the blocks that count (float64 [batch, blocks]), float32 [batch]."""
    level = _level(power)
    audible = level > LOUDNESS_FLOOR
    threshold = _level(_mean_where(power, audible)) + RELATIVE_GATE
    counted = audible & (level > threshold)
    loudness = _level(_mean_where(power, counted)).maximum(LOUDNESS_FLOOR)
    return loudness.cast(np.float32).reshape(-1)


def _level(power: Var) -> Var:
    return power.op("Log") * (10 / math.log(10)) + LOUDNESS_OFFSET


def _mean_where(power: Var, counted: Var) -> Var:
    """Return each row's mean over the counted blocks, 0 where there are none."""
    number = counted.cast(np.float64).reduce("ReduceSum", -1, keep=True)
    return counted.where(power, 0.0).reduce("ReduceSum", -1, keep=True) / number.maximum(1.0)


def _variants(
    inputs: Sequence[str], rates: Sequence[int] | None, dims: CodecDims | None
) -> list[str]:
    return ["", *map(variant_name, resampled_rates(dims, rates))] if dims else [""]


EXPORTERS = (
    Exporter(
        NAME,
        40,
        lambda models, variant: audio_processor(
            codec_of(models, NAME).dims, source_rate=rate_of_variant(variant)
        ),
        variants=_variants,
        is_variant=lambda variant: re.fullmatch(r"(from_[1-9][0-9]*)?", variant) is not None,
    ),
)
