"""The sampler: one step of masked parallel decoding, from logits to the next codes.

The same arithmetic as ``models/behaviour/sampling.py``, in the same order and precision: a
different rounding flips tokens.  Noise comes in as tensors, so the graph has no random
operator, and every option is an input.  Filters are branches: sorting a whole vocabulary costs
several times the rest of the step, and only who asks for a filter pays for it.

Source: Chang et al., "MaskGIT" (2022), as the published package implements it.
"""

import math
from collections.abc import Mapping

import numpy as np

from vampnet_onnx.export.graph.builder import GraphBuilder, Var
from vampnet_onnx.models import CodecDims

from .component import BuiltComponent, Exporter, codec_of, signature

_SMALLEST_GAMMA = 1e-10
# Of the cosine's Taylor series: up to pi / 2 the next one is below 2e-24, under one rounding
# of float64 at any value but the zero, where one of float32 still tells nothing of it.
_COSINE_TERMS = 14
_CODES = ("batch", "codebooks", "frames")


def sampler(dims: CodecDims) -> BuiltComponent:
    """Describe the sampler for codes of a codec; it serves coarse and coarse-to-fine alike.

    Inputs beside logits, codes (the predicted codebooks) and noise:

        at_start              codes masked before the first step, what the schedule counts
                              down from; reference mode: the same sum over the batch for all
        sample_cutoff         tokens are drawn while step / steps is at most this
        top_k, top_p          0 and 1 switch them off
        typical_filtering     reference mode asks for it, and it has no effect: false

    Args:
        dims: of the codec; its codebooks' size is the vocabulary, and the mask token.
    """
    vocab = dims.codebook_size
    return BuiltComponent(
        name="sampler",
        variant="",
        inputs=(
            signature("logits", "float32", "batch", vocab, "positions"),
            signature("codes", "int64", *_CODES),
            signature("step", "int64"),
            signature("steps", "int64"),
            signature("at_start", "int64", "batch"),
            signature("temperature", "float32"),
            signature("mask_temperature", "float32"),
            signature("sample_cutoff", "float64"),
            signature("top_k", "int64"),
            signature("top_p", "float32"),
            signature("typical_filtering", "bool"),
            signature("typical_mass", "float32"),
            signature("typical_min_tokens", "int64"),
            signature("exponential", "float32", "draws", vocab),
            signature("uniform", "float32", "batch", "positions"),
        ),
        outputs=(
            signature("next_codes", "int64", *_CODES),
            signature("next_mask", "int64", *_CODES),
            signature("sampled", "int64", *_CODES),
            signature("confidence", "float32", "batch", "positions"),
        ),
        dims=dims,
        build=lambda g, inputs: sampling_step(g, inputs, vocab),
    )


def cosine_schedule(g: GraphBuilder, ratio: Var) -> Var:
    """Build cos(ratio * pi / 2), kept within [1e-10, 1].

    Args:
        ratio: float32.  Its product with pi / 2 is rounded to float32 before the cosine, as
            published; the cosine itself is taken in float64 and rounded, so that it does not
            depend on whose float32 cosine is a bit off.  From 0 to 1.

    Returns:
        float32 of the ratio's shape.
    """
    cosine = _cosine(g, (ratio * math.pi / 2).cast(np.float64)).cast(np.float32)
    return cosine.maximum(_SMALLEST_GAMMA).minimum(1.0)


def _cosine(g: GraphBuilder, angle: Var) -> Var:
    """Build the cosine of angles up to pi / 2, float64, of multiplications and additions.

    Most releases of ONNX Runtime have no float64 ``Cos``, and libraries' own differ.

    Source: the Taylor series, sum of (-1)^n angle^(2n) / (2n)!, by Horner's rule.
    """
    square = angle * angle
    *others, last = ((-1) ** n / math.factorial(2 * n) for n in range(_COSINE_TERMS))
    found = g.constant(last, np.float64)
    for coefficient in reversed(others):
        found = square * found + coefficient
    return found


def sampling_step(g: GraphBuilder, given: Mapping[str, Var], vocab: int) -> dict[str, Var]:
    """Build a step from the sampler's inputs to its outputs, by name."""
    codes = given["codes"]
    logits = given["logits"].transpose(0, 2, 1)  # [batch, positions, vocab]
    with g.scope("filter"):
        filtered = _filtered(g, logits, given, vocab)
    with g.scope("draw"):
        drawn, probability = _drawn(g, filtered, given)
    by_frame = codes.transpose(0, 2, 1)
    flat = by_frame.reshape(0, -1)
    masked = flat.equals(vocab)
    sampled = masked.where(drawn, flat)
    with g.scope("remask"):
        ratio = _ratio(given)
        count = _count(g, given, ratio, masked)
        confidence = _confidence(given, ratio, probability)
        again = _least_certain(masked.where(confidence, math.inf), count)
        following = again.where(vocab, sampled)

    shape = by_frame.op("Shape", dtype=np.int64)

    def unflatten(values: Var) -> Var:
        return values.op("Reshape", shape).transpose(0, 2, 1)

    return {
        "next_codes": unflatten(following),
        "next_mask": unflatten(again.cast(np.int64)),
        "sampled": unflatten(sampled),
        "confidence": masked.where(confidence, 0.0),
    }


def _filtered(g: GraphBuilder, logits: Var, given: Mapping[str, Var], vocab: int) -> Var:
    """Apply the filters asked for in the published order: typical, top-k, top-p."""
    mass, least = given["typical_mass"], given["typical_min_tokens"]
    with g.scope("typical"):
        logits = g.when(
            given["typical_filtering"],
            lambda: _keep_typical(g, logits, mass, least),
            lambda: logits,
        )
    top_k, top_p = given["top_k"], given["top_p"]
    typical = logits
    with g.scope("top_k"):
        logits = g.when(
            top_k > 0, lambda: _keep_top_k(typical, top_k.minimum(vocab)), lambda: typical
        )
    largest = logits
    with g.scope("top_p"):
        return g.when(top_p < 1.0, lambda: _keep_top_p(g, largest, top_p), lambda: largest)


def _keep_typical(g: GraphBuilder, logits: Var, mass: Var, min_tokens: Var) -> Var:
    log_p = logits.op("LogSoftmax", axis=-1)
    entropy = -(log_p * log_p.op("Exp")).reduce("ReduceSum", -1, keep=True)
    distance, order = (-log_p - entropy).op("Abs").sort()
    reached = _cumulative(g, logits.op("GatherElements", order, axis=-1))
    last = (reached < mass).cast(np.int64).reduce("ReduceSum", -1, keep=True)
    last = last.minimum(logits.extent(-1) - 1)
    dropped = distance > distance.op("GatherElements", last, axis=-1)
    dropped = dropped & (g.range(logits.extent(-1)) >= min_tokens)
    return _unsorted(dropped, order).where(-math.inf, logits)


def _keep_top_k(logits: Var, k: Var) -> Var:
    values, _ = logits.sort(descending=True, count=k)
    return (logits < values.slice(-1, k - 1, k)).where(-math.inf, logits)


def _keep_top_p(g: GraphBuilder, logits: Var, p: Var) -> Var:
    values, order = logits.sort(descending=True)
    beyond = _cumulative(g, values) > p
    # The first entry beyond p is still kept.
    earlier = beyond.cast(np.int64).pad(-1, 1, 0).slice(-1, 0, -1).cast(np.bool_)
    return _unsorted(earlier, order).where(-math.inf, logits)


def _cumulative(g: GraphBuilder, logits: Var) -> Var:
    """Return cumulative probabilities; summed in float64 and rounded, as torch does."""
    probability = logits.op("Softmax", axis=-1).cast(np.float64)
    last = g.constant(-1, np.int64)
    return probability.op("CumSum", last).cast(np.float32)


def _unsorted(flags: Var, order: Var) -> Var:
    """Move flags of sorted entries back to where the entries came from."""
    numbers = flags.cast(np.int64)
    # Every entry is overwritten: the order is a permutation.
    return numbers.op("ScatterElements", order, numbers, axis=-1).cast(np.bool_)


def _drawn(g: GraphBuilder, logits: Var, given: Mapping[str, Var]) -> tuple[Var, Var]:
    """Return tokens, int64 [batch, positions], and their probabilities, float32.

    Torch's multinomial with one sample is argmax(p / q) with q ~ Exponential(1).
    """
    temperature = given["temperature"]
    tempered = logits / (temperature > 0.0).where(temperature, 1.0)
    probabilities = tempered.op("Softmax", axis=-1)
    done = given["step"].cast(np.float64) / given["steps"].cast(np.float64)

    def best(scores: Var) -> Var:
        return scores.op("ArgMax", dtype=np.int64, axis=-1, keepdims=1)

    tokens = g.when(
        done <= given["sample_cutoff"],
        lambda: best(
            probabilities
            / given["exponential"].op("Reshape", probabilities.op("Shape", dtype=np.int64))
        ),
        lambda: best(logits),
    )
    probability = probabilities.op("GatherElements", tokens, axis=-1)
    flat = (g.constant(np.array([-1], np.int64)),)
    return tokens.op("Squeeze", *flat), probability.op("Squeeze", *flat)


def _ratio(given: Mapping[str, Var]) -> Var:
    """Return how much is done after the step, rounded to float32 as published."""
    after = (given["step"] + 1).cast(np.float64)
    return (after / given["steps"].cast(np.float64)).cast(np.float32)


def _count(g: GraphBuilder, given: Mapping[str, Var], ratio: Var, masked: Var) -> Var:
    """Return how many codes of each item to mask again, int64 [batch]."""
    wanted = cosine_schedule(g, ratio) * given["at_start"].cast(np.float32)
    count = wanted.op("Floor").cast(np.int64)
    now = masked.cast(np.int64).reduce("ReduceSum", -1)
    bounded = count.minimum(now - 1).maximum(1)
    return (given["step"] < given["steps"] - 1).where(bounded, count)


def _confidence(given: Mapping[str, Var], ratio: Var, probability: Var) -> Var:
    gumbel = -_log(-_log(given["uniform"]))
    temperature = given["mask_temperature"] * (-ratio + 1.0)
    return _log(probability) + temperature * gumbel


def _log(x: Var) -> Var:
    """Return the logarithm of float32 by way of float64, rounded rightly.

    A runtime's float32 logarithm may differ in the last bit between the vectors of a tensor
    and what is left over at its end, which would tear ties of equal probabilities apart.
    """
    return x.cast(np.float64).op("Log").cast(np.float32)


def _least_certain(confidence: Var, count: Var) -> Var:
    """Return where confidence is below the count-th of the ascending order."""
    ascending, _ = confidence.sort()
    position = count.minimum(confidence.extent(-1) - 1).reshape(-1, 1)
    return confidence < ascending.op("GatherElements", position, axis=-1)


EXPORTERS = (
    Exporter("sampler", 60, lambda models, _: sampler(codec_of(models, "sampler").dims)),
)
