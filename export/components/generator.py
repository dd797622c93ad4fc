"""The generator: all of masked parallel decoding as one graph, seed in and tokens out.

A loop around the transformer, the sampler as it is and the noise of the seed: the lines of
``pipeline/steps/generate.py``, with the same numbers for the same seed.  The transformer's
nodes are those of its own file, and so are the weights: they lie in the file's data, once.

A caller that shows progress runs the loop in slices, and a chunk goes on in the stream of
noise where the last one ended: first step, number of steps and place in the stream are inputs.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from vampnet_onnx.configs.generator import generator_defaults
from vampnet_onnx.configs.manifest import TensorSignature
from vampnet_onnx.export.graph.builder import GraphBuilder, Var
from vampnet_onnx.models import VampNetDims

from .component import GeneratorComponent, TracedComponent, signature
from .noise import exponential, uniform
from .sampler import sampling_step

_NOWHERE = -1
_BAD = ("bad_logits", "bad_guidance", "bad_confidence")


def generator(variant: str, network: TracedComponent) -> GeneratorComponent:
    """Describe the generator of a transformer that takes codes.

    Inputs beside codes, mask and what the sampler takes:

        current               predicted codes as a slice before left them; not read at step 0
        first_step            of this slice, from 0
        step_count            steps of this slice; no step beyond `steps` is made
        seed, start           of the noise, and how many of its words were taken before
        corrected             the mode, which is reference otherwise
        guided, cfg_guidance  classifier-free guidance and its strength; it has an effect in
                              corrected mode, elsewhere it takes noise alone

    Outputs:

        tokens                codes with every masked one replaced, as the last step drew them
        sampled, next_codes   predicted codes of every step made: as drawn, and with the least
                              certain masked again; the last one is the next slice's `current`
        confidence            that codes were kept by, of every step made, time-major
        end                   words of the noise that are taken now
        bad_logits            the step whose logits are not finite, where the loop ends; or -1
        bad_guidance          likewise, where guidance makes finite logits something else
        bad_confidence        likewise, of confidences that are no numbers

    Args:
        network: the transformer in float32, by codes.
    """
    dims = network.dims
    assert isinstance(dims, VampNetDims)
    predicted = dims.n_codebooks - dims.n_conditioning_codebooks
    return GeneratorComponent(
        name=network.name,
        variant=variant,
        inputs=_inputs(dims, predicted),
        outputs=(
            signature("tokens", "int64", "batch", dims.n_codebooks, "frames"),
            signature("sampled", "int64", "made", "batch", predicted, "frames"),
            signature("next_codes", "int64", "made", "batch", predicted, "frames"),
            signature("confidence", "float32", "made", "batch", "positions"),
            signature("end", "int64"),
            signature("bad_logits", "int64"),
            signature("bad_guidance", "int64"),
            signature("bad_confidence", "int64"),
        ),
        dims=dims,
        network=network,
        defaults=generator_defaults(network.name),
        build=lambda g, given, model: _build(g, given, model, dims),
    )


def _inputs(dims: VampNetDims, predicted: int) -> tuple[TensorSignature, ...]:
    return (
        signature("codes", "int64", "batch", dims.n_codebooks, "frames"),
        signature("mask", "int64", "batch", dims.n_codebooks, "frames"),
        signature("current", "int64", "batch", predicted, "frames"),
        signature("first_step", "int64"),
        signature("step_count", "int64"),
        signature("steps", "int64"),
        signature("seed", "uint64"),
        signature("start", "int64"),
        signature("corrected", "bool"),
        signature("guided", "bool"),
        signature("cfg_guidance", "float64"),
        signature("temperature", "float32"),
        signature("mask_temperature", "float32"),
        signature("sample_cutoff", "float64"),
        signature("top_k", "int64"),
        signature("top_p", "float32"),
        signature("typical_filtering", "bool"),
        signature("typical_mass", "float32"),
        signature("typical_min_tokens", "int64"),
    )


def _build(
    g: GraphBuilder, given: Mapping[str, Var], model: ir.Model, dims: VampNetDims
) -> dict[str, Var]:
    vocab, conditioning = dims.vocab_size, dims.n_conditioning_codebooks
    codes, corrected = given["codes"], given["corrected"]

    def predicted_of(values: Var) -> Var:
        return values.slice(1, conditioning, dims.n_codebooks)

    with g.scope("start"):
        begun = _masked(g, given, dims)
        masked = begun.equals(vocab).cast(np.int64)
        own = _per_item(predicted_of(masked))
        at_start = corrected.where(own, own * 0 + _per_item(masked).reduce("ReduceSum", 0))
        first = given["first_step"].equals(0)
        current = first.where(predicted_of(begun), given["current"])
        kept, seen_first = (values.slice(1, 0, conditioning) for values in (codes, begun))
    options = _options(given)

    def turn(number: Var, states: Sequence[Var]) -> tuple[Var, list[Var], list[Var]]:
        current, _, place, *bad = states
        with g.scope("step"):
            step = number + given["first_step"]
            conditioned = step.equals(0).where(seen_first, kept)
            seen = g.concat(1, conditioned, current)
        predicted, logits = _logits(g, given, seen, model, vocab)
        with g.scope("noise"):
            draws, place = _noise(g, given, step, place, current, logits, vocab)
        with g.scope("sampler"):
            made = sampling_step(
                g,
                {
                    **options,
                    **draws,
                    "logits": logits,
                    "codes": current,
                    "step": step,
                    "at_start": at_start,
                },
                vocab,
            )
        with g.scope("finite"):
            confidence = made["confidence"]
            strange = confidence.op("IsNaN", dtype=np.bool_).cast(np.int64)
            finite = _all_finite(predicted)
            sound = [
                finite,
                _all_finite(logits) | ~finite,
                strange.reshape(-1).reduce("ReduceSum", 0).equals(0),
            ]
            states = [
                made["next_codes"],
                made["sampled"],
                place,
                *(holds.where(before, step) for holds, before in zip(sound, bad, strict=True)),
            ]
        going = sound[0] & sound[1] & sound[2]
        return going, states, [made["sampled"], made["next_codes"], confidence]

    with g.scope("loop"):
        left = given["steps"] - given["first_step"]
        nowhere = g.constant(_NOWHERE, np.int64)
        codes_of = ("batch", dims.n_codebooks - conditioning, "frames")
        last, stacked = g.loop(
            turn,
            given["step_count"].minimum(left),
            [current, current, given["start"], nowhere, nowhere, nowhere],
            shapes=[codes_of, codes_of, (), (), (), ()],
            results=[codes_of, codes_of, ("batch", "positions")],
        )
        tokens = g.concat(1, kept, last[1])
    names = ("sampled", "next_codes", "confidence")
    return {
        "tokens": tokens,
        **dict(zip(names, stacked, strict=True)),
        "end": last[2],
        **dict(zip(_BAD, last[3:], strict=True)),
    }


def _masked(g: GraphBuilder, given: Mapping[str, Var], dims: VampNetDims) -> Var:
    """Return the codes with mask tokens; corrected mode leaves those that condition."""
    books = np.arange(dims.n_codebooks)[None, :, None]
    predicted = g.constant(books >= dims.n_conditioning_codebooks)
    masked = given["mask"].equals(1) & (predicted | ~given["corrected"])
    return masked.where(dims.vocab_size, given["codes"])


def _per_item(counted: Var) -> Var:
    """Sum [batch, codebooks, frames] to [batch]."""
    return counted.reduce("ReduceSum", 2).reduce("ReduceSum", 1)


def _options(given: Mapping[str, Var]) -> dict[str, Var]:
    """Return the sampler's options; two have no effect in reference mode, as published."""
    plain = ("steps", "temperature", "mask_temperature", "sample_cutoff", "top_p")
    typical = ("typical_mass", "typical_min_tokens")
    return {
        **{name: given[name] for name in (*plain, *typical)},
        "top_k": given["corrected"].where(given["top_k"], 0),
        "typical_filtering": given["typical_filtering"] & given["corrected"],
    }


def _logits(
    g: GraphBuilder, given: Mapping[str, Var], codes: Var, model: ir.Model, vocab: int
) -> tuple[Var, Var]:
    """Build the transformer, once: with guidance the batch is doubled by masked items.

    Returns:
        Its own logits, and those that are sampled from.
    """
    with g.scope("guidance"):
        guided = given["guided"] & given["corrected"]
        asked = g.when(guided, lambda: g.concat(0, codes, codes * 0 + vocab), lambda: codes)
    (logits,) = g.embed(model, {"codes": asked})
    scale, batch = given["cfg_guidance"], codes.extent(0)

    def mixed() -> Var:
        conditional, without = (
            logits.slice(0, start, stop) for start, stop in ((0, batch), (batch, batch * 2))
        )
        share = (-scale + 1.0).cast(np.float32)
        return scale.cast(np.float32) * conditional + share * without

    with g.scope("guidance"):
        return logits, g.when(guided, mixed, lambda: logits)


def _noise(
    g: GraphBuilder,
    given: Mapping[str, Var],
    step: Var,
    place: Var,
    current: Var,
    logits: Var,
    entries: int,
) -> tuple[dict[str, Var], Var]:
    """Build a step's noise, and the place in the stream behind it.

    Of the stream's exponential numbers those of masked codes alone are made: what the others
    would draw is not looked at.  Reference mode doubles the batch where guidance is asked for,
    and takes noise for it.
    """
    batch, positions = logits.extent(0), logits.extent(2)
    seed, codes = given["seed"], batch * positions
    with g.scope("asked"):
        doubled = given["guided"] & ~given["corrected"]
        asked = codes * (doubled.cast(np.int64) + 1)
        done = step.cast(np.float64) / given["steps"].cast(np.float64)
        draws = done <= given["sample_cutoff"]
        behind = place + draws.cast(np.int64) * asked * entries

    def drawn() -> Var:
        masked = current.transpose(0, 2, 1).reshape(-1).equals(entries)
        rows = masked.op("NonZero", dtype=np.int64).reshape(-1)
        made, places = exponential(g, seed, place, rows, entries)
        one = g.constant(1.0, np.float32)
        rest = one.op("Expand", g.vector(codes, entries))
        return rest.op("ScatterND", places.reshape(-1, 1), made)

    with g.scope("exponential"):
        none = g.constant(np.zeros((0, entries), np.float32))
        numbers = g.when(draws, drawn, lambda: none)
    with g.scope("uniform"):
        flat = uniform(g, seed, behind, codes)
        of_codes = flat.op("Reshape", g.vector(batch, positions))
    return {"exponential": numbers, "uniform": of_codes}, behind + asked


def _all_finite(logits: Var) -> Var:
    # Nothing of zero is zero, but of what is not finite: that is NaN, and so is the sum.
    total = (logits * 0.0).reshape(-1).reduce("ReduceSum", 0)
    return total.equals(0.0)
