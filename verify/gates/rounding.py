"""What float32 alone costs the reference, and so what no export can be blamed for.

The reference runs once more in float64; how far its float32 outputs are from that is its own
rounding.  Deep stacks of periodic activations can amplify it beyond a fixed limit: on one
golden set the reference's float32 latents are 1.1e-5 from float64.  A difference of that size
says nothing about an export, so a limit is widened to a stated multiple of it, within a cap.
The export has no part in the measure and cannot widen its own limits.
"""

import math
from dataclasses import dataclass

import numpy as np

from vampnet_onnx.configs.config import GateRule, NoiseAllowance, Ties
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.subjects.case import Computed
from vampnet_onnx.verify.subjects.registry import subject_of

_ONE_ROUNDING = float(np.finfo(np.float32).eps)
_SCALING = frozenset({"relative_l2", "max_abs"})


@dataclass(frozen=True)
class Rounding:
    """The reference's own rounding on one case.

    Attributes:
        metrics: of its float32 outputs against its float64 ones.
        scale: largest absolute value of the main output.
    """

    metrics: dict[str, float]
    margin: float
    scale: float


def measure_rounding(record: ComponentRecord, single: Computed, double: Computed) -> Rounding:
    """Compare the reference in float32 with itself in float64 on the same input."""
    # Whatever token differs here is a tie by definition.
    anything = Ties(codes_margin=math.inf, logits_margin=math.inf)
    found = subject_of(record).compare(record, double, single.outputs, anything)
    margin = 0.0
    if single.margins is not None and double.margins is not None:
        change = np.abs(single.margins - double.margins)
        margin = float(change[_same_decisions(single, double)].max(initial=0.0))
    return Rounding(found.metrics, margin, float(np.abs(found.reference).max(initial=0.0)))


def measured_ties(ties: Ties, rounding: Rounding, allowance: NoiseAllowance) -> Ties:
    """Return tie margins as the measured rounding allows, within a cap.

    A token may differ only where the reference's own float32 could have decided otherwise.
    One rounding is always allowed: a few tokens may show less by chance.
    """
    margin = max(allowance.factor * rounding.margin, _ONE_ROUNDING)
    share = max(margin / rounding.scale if rounding.scale else 0.0, _ONE_ROUNDING)
    return Ties(
        codes_margin=min(margin, allowance.cap * ties.codes_margin),
        logits_margin=min(share, allowance.cap * ties.logits_margin),
        draws_margin=ties.draws_margin,
    )


def widened_limit(
    name: str, rule: GateRule, rounding: Rounding, allowance: NoiseAllowance
) -> float:
    """Return a metric's limit, widened where the reference's own rounding is beyond it."""
    own = rounding.metrics.get(name, math.nan)
    if not math.isfinite(own):
        return rule.limit
    if name in _SCALING:
        return max(rule.limit, min(allowance.factor * own, allowance.cap * rule.limit))
    if name == "snr_db":
        own -= 20 * math.log10(allowance.factor)
        return min(rule.limit, max(own, rule.limit - 20 * math.log10(allowance.cap)))
    return rule.limit


def _same_decisions(single: Computed, double: Computed) -> np.ndarray:
    """Return where margins belong to the same decision, bool of the margins' shape.

    A code decides the residual that later codebooks of its frame see.
    """
    assert single.margins is not None
    if "codes" not in single.outputs:
        return np.ones(single.margins.shape, bool)
    differs = single.outputs["codes"] != double.outputs["codes"]
    same: np.ndarray = np.cumsum(differs, axis=1) - differs == 0
    return same
