"""What one sampling step decided by, and what it could have decided within a tolerance.

A doubt excuses only the decisions that are as good by the reference's own numbers: an entry
that the filters may keep and whose score is nearly the best, a position whose confidence is
near the edge of what is masked again.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vampnet_onnx.configs.settings import GenerationSettings, Mode
from vampnet_onnx.models.behaviour.sampling import flatten_codes, unflatten_codes


@dataclass(frozen=True)
class Decisions:
    """What a step of the reference decided by; flat as `models.behaviour.sampling` says.

    Attributes:
        logits: float32 [B, V, N].
        exponential: noise of the draw, float32 [B * N, V]; None where the argmax was taken.
        masked: what the step had to choose for, bool [B, N].
        confidence: float32 [B, N]; inf where a code was not masked.
        counts: how many codes may be masked again, int64 [B] each.
    """

    logits: Tensor
    exponential: Tensor | None
    settings: GenerationSettings
    masked: Tensor
    confidence: Tensor
    counts: tuple[Tensor, ...]

    def could_draw(self, codes: np.ndarray, tolerance: float) -> np.ndarray:
        """Return where codes are what the step could have drawn, bool of their shape.

        Args:
            codes: int64 [B, P, T], of the step's first T frames.
            tolerance: relative of scores; of logits, probabilities and distances in nats.
        """
        flat = flatten_codes(torch.from_numpy(codes))
        places = flat.shape[1]
        logits = self.logits.transpose(1, 2).double()
        possible, certain = kept_entries(logits, self.settings, tolerance)
        temperature = self.settings.temperature
        scores = logits / temperature if temperature > 0 else logits
        if self.exponential is not None:
            # The logarithm of p / q, but for what all entries have in common.
            scores = scores - self.exponential.double().log().view_as(scores)
        best = scores.masked_fill(~certain, -torch.inf).amax(dim=-1)
        known = (flat >= 0) & (flat < logits.shape[-1])
        entry = torch.where(known, flat, 0)[..., None]
        score, may = (x[:, :places].gather(-1, entry)[..., 0] for x in (scores, possible))
        # A relative difference, as its logarithm: at most t + t^2.
        least = best[:, :places] - tolerance * (1 + tolerance)
        found = known & may & self.masked[:, :places] & (score > least)
        return unflatten_codes(found, codes.shape[1]).numpy()

    def remasking(self, moved: np.ndarray) -> np.ndarray:
        """Return how far each confidence is from the other side of the choice, float [B, N].

        What is masked again is below the one at position `count` of the order; what is not is
        no lower than that, and so above the one before it.  Where the count is in doubt,
        either will do.

        Args:
            moved: how many of an item's confidences may be others, int64 [B]; each moves the
                edge by a place.
        """
        ascending = self.confidence.sort(dim=-1).values
        last = ascending.shape[-1] - 1
        found = []
        for count in self.counts:
            edge = count.clamp(max=last)[:, None]
            shift = torch.from_numpy(moved)[:, None]
            to = (edge - 1 + shift).clamp(max=last)
            kept_from = ascending.gather(-1, (edge - shift).clamp(min=0))
            above = ascending.gather(-1, to.clamp(min=0))
            none = (to < 0) | (count[:, None] < 1)  # is masked again
            chosen_to = torch.where(none, -torch.inf, above)
            again = self.confidence < ascending.gather(-1, edge)
            gap = torch.where(again, kept_from - self.confidence, self.confidence - chosen_to)
            found.append((again, gap.clamp(min=0).nan_to_num(nan=torch.inf, posinf=torch.inf)))
        (again, gap), *others = found
        for other, another in others:
            gap = torch.where(other == again, torch.minimum(gap, another), 0.0)
        return gap.numpy()


def kept_entries(
    logits: Tensor, settings: GenerationSettings, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Return which entries the filters may keep, and which they keep whatever is rounded.

    Args:
        logits: float64 [B, N, V].

    Returns:
        Bool [B, N, V] each; the second is within the first.
    """
    possible = certain = torch.ones_like(logits, dtype=torch.bool)
    if settings.mode is Mode.CORRECTED and settings.typical_filtering:
        log_p = logits.log_softmax(dim=-1)
        p, entropy = log_p.exp(), -(log_p * log_p.exp()).sum(dim=-1, keepdim=True)
        distance, least = (-log_p - entropy).abs(), settings.typical_min_tokens
        mass, one = settings.typical_mass, torch.ones_like(p)

        def typical(slack: float) -> Tensor:
            # An entry is kept while those before it have not reached the mass.
            short = _before(distance, p, slack) < mass - slack
            return short | (_before(distance, one, slack) < least)

        possible, certain = typical(-tolerance), typical(tolerance)
    if settings.mode is Mode.CORRECTED and settings.top_k is not None:
        ahead = [
            _before(-logits, kept.double(), slack)
            for kept, slack in ((certain, -tolerance), (possible, tolerance))
        ]
        possible, certain = (
            possible & (ahead[0] < settings.top_k),
            certain & (ahead[1] < settings.top_k),
        )
    if settings.top_p is not None:
        p = logits.softmax(dim=-1)
        low, high = p * certain, p * possible
        fewest = _before(-logits, low, -tolerance)
        most = _before(-logits, high, tolerance)
        # The share of what is before an entry, of all that is kept, is between these.
        after_most = high.sum(-1, keepdim=True) - _before(-logits, high, -tolerance)
        after_least = low.sum(-1, keepdim=True) - _before(-logits, low, tolerance)
        smallest, largest = fewest / (fewest + after_most), most / (most + after_least)
        possible = possible & ((fewest == 0) | (smallest <= settings.top_p + tolerance))
        certain = certain & ((most == 0) | (largest <= settings.top_p - tolerance))
    return possible, certain


def _before(keys: Tensor, weights: Tensor, slack: float) -> Tensor:
    """Return the weight of the entries before each one, float64 of the keys' shape.

    Args:
        slack: with a negative one, entries as near as that do not count as before; with a
            positive one they do, but never the entry itself.
    """
    ordered, order = keys.sort(dim=-1)
    sums = weights.gather(-1, order).cumsum(dim=-1)
    sums = torch.cat([torch.zeros_like(sums[..., :1]), sums], dim=-1)
    edges = (keys + slack).contiguous()
    to = torch.searchsorted(ordered.contiguous(), edges, right=slack > 0)
    found = sums.gather(-1, to)
    return found - weights if slack > 0 else found
