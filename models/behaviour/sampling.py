"""One step of masked parallel decoding, as pure functions.

Logits and noise in, tokens out: nothing here draws a random number, so a graph without random
operators can be compared with it tensor by tensor, and any source of noise can drive it.

Source: Chang et al., "MaskGIT" (2022), as the published ``vampnet.modules.transformer``
implements it (``sample_from_logits``, ``mask_by_random_topk``, ``typical_filter``).  All
arithmetic is float32, in the published order: a different rounding flips tokens.

Shapes: B items, T time steps, P predicted codebooks, V entries.  "Flat" tensors have the axis
N = T * P, time-major and codebook-minor, the order of the logits.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vampnet_onnx.configs.settings import GenerationSettings, Mode

_SMALLEST_GAMMA = 1e-10


@dataclass(frozen=True)
class StepResult:
    """What a sampling step returns.

    Attributes:
        sampled: codes with every masked one replaced, int64 [B, P, T].
        codes: the same with the least certain masked again, the next step's input.
        confidence: what they were chosen by, flat, float32 [B, N]; inf where a code was not
            masked.
    """

    sampled: Tensor
    codes: Tensor
    confidence: Tensor


def gamma(ratio: Tensor) -> Tensor:
    """Return the cosine schedule cos(ratio * pi / 2), kept within [1e-10, 1].

    The ratio has to be float32 *before* the cosine: at 2/3 float64 gives half of the codes,
    float32 one code fewer.
    """
    return torch.cos(ratio * math.pi / 2).clamp(_SMALLEST_GAMMA, 1.0)


def step_ratio(step: int, steps: int) -> Tensor:
    """Return how much is done after step number `step` from 0, float32 scalar."""
    return torch.tensor((step + 1) / steps, dtype=torch.float32)


def draws_tokens(step: int, settings: GenerationSettings) -> bool:
    """Whether a step draws its tokens; otherwise it takes the most probable ones."""
    return step / settings.steps <= settings.sample_cutoff


def flatten_codes(codes: Tensor) -> Tensor:
    """Flatten codes [B, P, T] to [B, N], time-major and codebook-minor."""
    return codes.transpose(1, 2).flatten(1)


def unflatten_codes(flat: Tensor, n_codebooks: int) -> Tensor:
    """Undo `flatten_codes`: [B, N] to [B, P, T]."""
    return flat.reshape(len(flat), -1, n_codebooks).transpose(1, 2)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Set logits (float [..., V]) below the k-th largest to -inf; ties with it are kept."""
    kth = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < kth, -torch.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Set logits outside the nucleus of probability `p` to -inf.

    The probabilities are those of the untempered logits (float32 [..., V]).  The first entry
    at which the cumulative probability exceeds `p`, above 0, is still kept.  Nothing is
    dropped from p = 1 on.

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2019).
    """
    if p >= 1.0:
        return logits
    values, order = logits.sort(dim=-1, descending=True)
    beyond = values.softmax(dim=-1).cumsum(dim=-1) > p
    dropped = torch.cat([torch.zeros_like(beyond[..., :1]), beyond[..., :-1]], dim=-1)
    return logits.masked_fill(_unsorted(dropped, order), -torch.inf)


def keep_typical(logits: Tensor, mass: float, min_tokens: int) -> Tensor:
    """Set logits of untypical entries to -inf.

    Entries (float32 [..., V]) are sorted by how far their surprise -log p is from the entropy;
    those up to the first at which the cumulative probability reaches `mass` are kept, with any
    that are as far as that one, and always the first `min_tokens`.

    Source: Meister et al., "Locally Typical Sampling" (2022).
    """
    log_p = logits.log_softmax(dim=-1)
    entropy = -(log_p * log_p.exp()).nansum(dim=-1, keepdim=True)
    distance, order = (-log_p - entropy).abs().sort(dim=-1)
    reached = logits.gather(-1, order).softmax(dim=-1).cumsum(dim=-1)
    last = (reached < mass).sum(dim=-1, keepdim=True).clamp(max=logits.shape[-1] - 1)
    dropped = distance > distance.gather(-1, last)
    dropped[..., :min_tokens] = False
    return logits.masked_fill(_unsorted(dropped, order), -torch.inf)


def filter_logits(logits: Tensor, settings: GenerationSettings) -> Tensor:
    """Apply the filters in the published order: typical, top-k, top-p.

    In reference mode only top-p has an effect, as published: the result of typical filtering
    is thrown away there, and top-k is never passed on.
    """
    if settings.mode is Mode.CORRECTED:
        if settings.typical_filtering:
            logits = keep_typical(logits, settings.typical_mass, settings.typical_min_tokens)
        if settings.top_k is not None:
            logits = keep_top_k(logits, settings.top_k)
    return logits if settings.top_p is None else keep_top_p(logits, settings.top_p)


def sample_from_logits(
    logits: Tensor, exponential: Tensor | None, *, temperature: float
) -> tuple[Tensor, Tensor]:
    """Draw one entry from each distribution, or take the most probable.

    On a CPU, torch's multinomial with one sample is argmax(p / q) with q ~ Exponential(1) of
    the shape of p; q is an input here.

    Args:
        logits: float32 [B, N, V], filtered.
        exponential: float32 [B * N, V], or None for the argmax of the logits.
        temperature: divides the logits in the probabilities; 0 leaves them.

    Returns:
        Tokens, int64 [B, N], and their probabilities, float32 [B, N], which are after filters
        and temperature also where the argmax is taken.
    """
    probabilities = torch.softmax(logits / temperature if temperature > 0 else logits, dim=-1)
    if exponential is None:
        tokens = logits.argmax(dim=-1)
    else:
        tokens = (probabilities / exponential.view_as(probabilities)).argmax(dim=-1)
    return tokens, probabilities.gather(-1, tokens[..., None]).squeeze(-1)


def count_to_mask(step: int, steps: int, at_start: Tensor, masked_now: Tensor) -> Tensor:
    """Return how many codes of each item to mask again after a step (from 0).

    floor(gamma * at_start), on all but the last step kept within 1 and masked_now - 1.

    Args:
        at_start: codes masked before the first step, int64 [B] or scalar.
        masked_now: codes masked before this step, int64 [B], as the result.
    """
    count = torch.floor(gamma(step_ratio(step, steps)) * at_start).long()
    if step < steps - 1:
        count = torch.minimum(masked_now - 1, count).clamp(min=1)
    return count.expand_as(masked_now)


def noisy_confidence(probabilities: Tensor, temperature: Tensor, uniform: Tensor) -> Tensor:
    """Return log(p) + temperature * gumbel, float32 [B, N].

    Args:
        probabilities: float32 [B, N]; inf for a code that must not be chosen.
        uniform: float32 [B, N], within (0, 1); the Gumbel noise is -log(-log(u)).
    """
    gumbel = -torch.log(-torch.log(uniform))
    return torch.log(probabilities) + temperature * gumbel


def least_certain(count: Tensor, confidence: Tensor) -> Tensor:
    """Return where confidence is below the one at position `count` of the ascending order.

    Ties with it are not chosen.  A count beyond the last position, which happens only where
    there is one code (the published function fails there), means the last.

    Args:
        count: int64 [B].
        confidence: float32 [B, N], as the result, which is bool.
    """
    ascending = confidence.sort(dim=-1).values
    position = count.clamp(max=confidence.shape[-1] - 1)
    return confidence < ascending.gather(-1, position[:, None])


def mask_by_random_topk(
    count: Tensor, probabilities: Tensor, temperature: Tensor, uniform: Tensor
) -> Tensor:
    """Choose the least certain codes, with noise: `least_certain` of `noisy_confidence`."""
    return least_certain(count, noisy_confidence(probabilities, temperature, uniform))


def sampling_step(
    logits: Tensor,
    codes: Tensor,
    *,
    step: int,
    at_start: Tensor,
    mask_token: int,
    settings: GenerationSettings,
    exponential: Tensor | None,
    uniform: Tensor,
) -> StepResult:
    """Sample the masked codes and mask the least certain again, in a step counted from 0.

    Args:
        logits: float32 [B, V, N].
        codes: int64 [B, P, T], the predicted codebooks only, with the mask token.
        at_start: masked codes before the first step, int64 [B] or scalar (`count_to_mask`).
        exponential: float32 [B * N, V] where the step draws (`draws_tokens`), else None.
        uniform: float32 [B, N].
    """
    filtered = filter_logits(logits.transpose(1, 2), settings)
    drawn, probabilities = sample_from_logits(
        filtered, exponential, temperature=settings.temperature
    )
    flat = flatten_codes(codes)
    masked = flat == mask_token
    sampled = torch.where(masked, drawn, flat)
    confidence = noisy_confidence(
        torch.where(masked, probabilities, torch.inf),
        settings.mask_temperature * (1 - step_ratio(step, settings.steps)),
        uniform,
    )
    count = count_to_mask(step, settings.steps, at_start, masked.sum(dim=-1))
    again = least_certain(count, confidence)
    n_codebooks = codes.shape[1]
    return StepResult(
        sampled=unflatten_codes(sampled, n_codebooks),
        codes=unflatten_codes(torch.where(again, mask_token, sampled), n_codebooks),
        confidence=confidence,
    )


def _unsorted(flags: Tensor, order: Tensor) -> Tensor:
    """Move flags (bool [..., V]) of sorted entries back to where the entries came from."""
    return torch.zeros_like(flags).scatter(-1, order, flags)
