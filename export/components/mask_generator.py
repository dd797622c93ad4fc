"""The mask generator: every published mask, its options and its draws as inputs.

Composed as ``models.behaviour.mask_plan`` does: strategies combined, then dropout, then the
conditioning codebooks kept, then the upper codebooks masked; beats laid over that, and the
upper codebooks masked again; then the time stretch of ``models.behaviour.interface.stretch``.
Nothing of it is frozen: any option may change from one run of the graph to the next.
"""

from collections.abc import Mapping

import numpy as np

from vampnet_onnx.export.graph.builder import GraphBuilder, Var
from vampnet_onnx.models import CodecDims

from .component import BuiltComponent, Exporter, codec_of, signature
from .sampler import cosine_schedule


def mask_generator(dims: CodecDims) -> BuiltComponent:
    """Describe the mask generator.

    Inputs beside codes, of which only the shape matters:

        rand_mask_intensity   probability that a code is masked at all
        rand_mask_cosine      take its cosine schedule for that, as ``random`` does
        prefix_frames, suffix_frames                     kept at the ends
        periodic_prompt, periodic_prompt_width, roll     0 keeps none; `roll` is drawn
        onset_frames, onset_mask_width                   0 keeps none
        beat_frames, beat_before, beat_after             both 0 keep none
        beat_dropout          probability that a frame of a beat is not kept
        beat_invert           keep the beats; otherwise mask them, and keep what lies between
        beat_uniform          drawn; a frame of a beat is kept where it is below
                              1 - beat_dropout; [beats, beat_before + beat_after or more]
        combine_or            mask what any strategy masks, not what all do; strategies that
                              are switched off take no part, nor do beats
        dropout, dropped_frames      int(frames * dropout) of the drawn frames are masked
        n_conditioning_codebooks, upper_codebook_mask
        time_stretch_factor   1 for none; repetitions of a frame are masked
        uniform               drawn; a code is masked where it is below the probability

    Args:
        dims: of the codec, for the record: nothing in the graph depends on them.
    """
    codes = ("batch", "codebooks", "frames")
    return BuiltComponent(
        name="mask_generator",
        variant="",
        inputs=(
            signature("codes", "int64", *codes),
            signature("rand_mask_intensity", "float32"),
            signature("rand_mask_cosine", "bool"),
            signature("prefix_frames", "int64"),
            signature("suffix_frames", "int64"),
            signature("periodic_prompt", "int64"),
            signature("periodic_prompt_width", "int64"),
            signature("roll", "int64"),
            signature("onset_frames", "int64", "onsets"),
            signature("onset_mask_width", "int64"),
            signature("beat_frames", "int64", "beats"),
            signature("beat_before", "int64"),
            signature("beat_after", "int64"),
            signature("beat_dropout", "float64"),
            signature("beat_invert", "bool"),
            signature("beat_uniform", "float32", "beats", "beat_width"),
            signature("combine_or", "bool"),
            signature("dropout", "float64"),
            signature("n_conditioning_codebooks", "int64"),
            signature("upper_codebook_mask", "int64"),
            signature("time_stretch_factor", "int64"),
            signature("uniform", "float32", *codes),
            signature("dropped_frames", "int64", "draws"),
        ),
        outputs=(signature("mask", "int64", "batch", "codebooks", "stretched_frames"),),
        dims=dims,
        build=_build,
    )


def _build(g: GraphBuilder, given: Mapping[str, Var]) -> dict[str, Var]:
    codes = given["codes"]
    codebooks, frames = codes.extent(1), codes.extent(2)
    time = g.range(frames)
    with g.scope("random"):
        masked = _random(g, given)
    combine_or = given["combine_or"]
    for name, (kept, used) in _strategies(g, given, time, frames).items():
        with g.scope(name):
            # A strategy that is switched off masks nothing of an OR, everything of an AND.
            own = ~kept & (used | ~combine_or)
            masked = (combine_or & (masked | own)) | (~combine_or & (masked & own))
    with g.scope("dropout"):
        masked = masked | _dropped(g, given, frames)
    with g.scope("codebooks"):
        book = g.range(codebooks).reshape(-1, 1)
        masked = masked & (book >= given["n_conditioning_codebooks"])
        upper = book >= given["upper_codebook_mask"]
        masked = masked | upper
    with g.scope("beats"):
        marked = _marked(g, given, frames)
        invert = given["beat_invert"]
        kept = (invert & marked) | (~invert & ~marked)
        used = (given["beat_before"] + given["beat_after"]) > 0
        masked = (masked & ~(kept & used)) | upper
    with g.scope("time_stretch"):
        factor = given["time_stretch_factor"]
        stretched = g.range(frames * factor)
        masked = masked.op("Gather", stretched // factor, axis=2)
        masked = masked | (stretched % factor > 0)
    return {"mask": masked.cast(np.int64)}


def _random(g: GraphBuilder, given: Mapping[str, Var]) -> Var:
    """Return where a code is masked at random, bool [batch, codebooks, frames].

    Codes take part by shape: noise of another shape does not broadcast.
    """
    intensity = given["rand_mask_intensity"]
    probability = given["rand_mask_cosine"].where(cosine_schedule(g, intensity), intensity)
    shape = given["codes"].op("Shape", dtype=np.int64)
    return given["uniform"].op("Reshape", shape) < probability


def _strategies(
    g: GraphBuilder, given: Mapping[str, Var], time: Var, frames: Var
) -> dict[str, tuple[Var, Var]]:
    """Return which frames each strategy keeps, bool [frames], and whether it is used."""
    prefix, suffix = given["prefix_frames"], given["suffix_frames"]
    with g.scope("inpaint"):
        kept = (time < prefix) | (time >= frames - suffix)
        found = {"inpaint": (kept, prefix + suffix > 0)}
    with g.scope("periodic"):
        period = given["periodic_prompt"]
        found["periodic"] = (_periodic(given, time, frames), period > 0)
    with g.scope("onsets"):
        width = given["onset_mask_width"]
        kept = _around(g, given["onset_frames"], width, width, frames)
        found["onsets"] = (kept, width > 0)
    # One that is off keeps nothing, so masks everything, which is nothing to an AND.
    return {name: (kept & used, used) for name, (kept, used) in found.items()}


def _periodic(given: Mapping[str, Var], time: Var, frames: Var) -> Var:
    """Return the frames within half a width of a prompt, before the roll took them along.

    The nearest prompts of a frame are the one before it and the one after it, if that is
    still within the clip.
    """
    period, half = given["periodic_prompt"], given["periodic_prompt_width"] // 2
    period = (period > 0).where(period, frames)
    origin = (time - given["roll"]) % frames
    past = origin % period
    following = origin - past + period
    return (past <= half) | ((following - origin <= half) & (following < frames))


def _around(g: GraphBuilder, events: Var, before: Var, after: Var, frames: Var) -> Var:
    """Return frames event - before to event + after - 1 of every event, bool [frames].

    As a slice does it: a negative start counts from the end, so it may select nothing.
    Counting starts and stops needs memory for frames and events, not for their product.
    """
    start, stop = _slices(events, before, after, frames)
    selects = (start < stop).cast(np.int64)
    zero = g.constant(np.zeros(1, np.int64))
    changes = zero.op("Expand", g.vector(frames + 1))
    for where, sign in ((start, selects), (stop, -selects)):
        at = where.minimum(frames)
        changes = changes.op("ScatterElements", at, sign, axis=0, reduction="add")
    depth = changes.op("CumSum", g.constant(0, np.int64))
    return depth.slice(0, 0, frames) > 0


def _slices(events: Var, before: Var, after: Var, frames: Var) -> tuple[Var, Var]:
    """Return where the slice of each event starts and stops, int64 [events] both."""
    start, stop = events - before, (events + after).minimum(frames)
    return (start < 0).where(start + frames, start).maximum(0), stop


def _marked(g: GraphBuilder, given: Mapping[str, Var], frames: Var) -> Var:
    """Return the frames that beats mark, bool [frames].

    Of a frame that several cover the last one decides: each writes twice its number, one
    more where it marks, and the largest stays.  Too few draws stop the run.
    """
    before, after = given["beat_before"], given["beat_after"]
    width = before + after
    start, stop = (
        item.reshape(-1, 1) for item in _slices(given["beat_frames"], before, after, frames)
    )
    frame = start + g.range(width).reshape(1, -1)
    frame = (frame < stop).where(frame, frames)  # those beyond go where nobody looks
    drawn = given["beat_uniform"]
    shape = frame.op("Shape", dtype=np.int64)
    drawn = drawn.slice(1, 0, width).op("Reshape", shape)
    taken = drawn < (-given["beat_dropout"] + 1.0).cast(np.float32)
    number = g.range(given["beat_frames"].extent(0)).reshape(-1, 1)
    written = (number + 1) * 2 + taken.cast(np.int64)
    zero = g.constant(np.zeros(1, np.int64)).op("Expand", g.vector(frames + 1))
    at, values = frame.reshape(-1), written.reshape(-1)
    last = zero.op("ScatterElements", at, values, axis=0, reduction="max")
    return (last.slice(0, 0, frames) % 2).equals(1)


def _dropped(g: GraphBuilder, given: Mapping[str, Var], frames: Var) -> Var:
    """Return the frames masked by dropout, bool [frames].

    Fewer drawn frames than the fraction asks for stop the run: they cannot be reshaped.
    """
    count = (frames.cast(np.float64) * given["dropout"]).cast(np.int64)
    chosen = given["dropped_frames"].slice(0, 0, count).reshape(count)
    ones = (chosen * 0) + 1
    none = g.constant(np.zeros(1, np.int64)).op("Expand", g.vector(frames))
    return none.op("ScatterElements", chosen, ones, axis=0) > 0


EXPORTERS = (
    Exporter(
        "mask_generator",
        50,
        lambda models, _: mask_generator(codec_of(models, "mask_generator").dims),
    ),
)
