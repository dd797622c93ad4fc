"""One case run on both sides and judged by its own limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from vampnet_onnx.configs.config import GateRule, Gates
from vampnet_onnx.reports.summary import share_of_limit
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Arrays, Case, Comparison, Computed, Outputs
from vampnet_onnx.verify.subjects.registry import subject_of

from .rounding import measure_rounding, measured_ties, widened_limit

# Metrics of which more is better; of all others less is.
HIGHER_IS_BETTER = frozenset({"pearson", "snr_db", "token_accuracy", "input_sensitivity"})


class SignatureError(Exception):
    """The export's outputs are not of the names, dtypes or shapes the reference has."""


@dataclass(frozen=True)
class Outcome:
    """A case that ran.

    Attributes:
        comparison: None where the sides could not be compared.
        limits: by metric, as widened by the reference's own rounding.
        shared: the export gave the reference's own arrays.
    """

    case: Case
    comparison: Comparison | None
    limits: Mapping[str, float]
    values: int = 0
    shared: bool = False
    message: str = ""

    @property
    def ties(self) -> int:
        """How many tokens are ties of the reference."""
        tokens = self.comparison.tokens if self.comparison else None
        return tokens.ambiguous if tokens else 0

    @property
    def has_arrays(self) -> bool:
        """Whether it holds what the figures are drawn from."""
        return self.comparison is not None and self.comparison.reference.size > 0

    def without_arrays(self) -> Outcome:
        """Return the same without what only figures need."""
        if self.comparison is None:
            return self
        empty = np.zeros((0, 0))
        bare = replace(self.comparison, error=empty, reference=empty, export=empty)
        return replace(self, comparison=bare)


def run_case(case: Case, sides: Sides, gates: Gates) -> Outcome:
    """Run one case on both sides, one after the other, and judge it."""
    return judge(case, sides, gates, *both_sides(case, sides))


def both_sides(
    case: Case, sides: Sides
) -> tuple[Callable[[], Computed], Callable[[], Arrays]]:
    """Return what computes a case on the reference's side, and on the export's."""
    record, reference = sides.record, sides.reference
    return (
        lambda: reference.run(record, case),
        lambda: sides.export(reference.inputs(record, case)),
    )


def judge(
    case: Case,
    sides: Sides,
    gates: Gates,
    reference: Callable[[], Computed],
    export: Callable[[], Arrays],
) -> Outcome:
    """Judge one case.

    Args:
        reference: gives what the reference computes of it, or raises what it raised.
        export: gives what the export computes of it, likewise.
    """
    record = sides.record
    subject, rules = subject_of(record), gates.for_component(record.name, record.variant)
    limits = {name: rule.limit for name, rule in rules.items()}
    try:
        expected = reference()
    except FloatingPointError as error:
        return Outcome(case, None, limits, message=f"the reference failed: {error}")
    try:
        found = export()
    except Exception as error:  # ONNX Runtime's errors share no other base
        return Outcome(case, None, limits, message=f"the artifact failed to run: {error}")
    try:
        require_same_signature(expected.outputs, found)
    except SignatureError as error:
        return Outcome(case, None, limits, message=str(error))
    comparison = subject.compare(record, expected, found, gates.ties)
    if subject.has_rounding and (
        broken(comparison, rules, limits) or _tokens_differ(comparison)
    ):
        double = sides.reference.in_float64.run(record, case)
        rounding = measure_rounding(record, expected, double)
        ties = measured_ties(gates.ties, rounding, gates.noise)
        comparison = subject.compare(record, expected, found, ties)
        limits = {
            n: widened_limit(n, rule, rounding, gates.noise) for n, rule in rules.items()
        }
    shared = any(np.shares_memory(array, found[n]) for n, array in expected.outputs.items())
    values = comparison.reference.size
    return Outcome(case, comparison, limits, values, shared, comparison.message)


def require_same_signature(reference: Outputs, export: Outputs) -> None:
    """Refuse outputs that cannot be compared at all.

    Raises:
        SignatureError: names, dtypes or shapes differ.
    """
    for name, wanted in reference.items():
        found = export.get(name)
        if found is None:
            raise SignatureError(f"output {name} is missing; there are {', '.join(export)}")
        if found.dtype != wanted.dtype or found.shape != wanted.shape:
            raise SignatureError(
                f"output {name} is {found.dtype} {found.shape}, the reference's is"
                f" {wanted.dtype} {wanted.shape}"
            )


def satisfies(value: float, rule: GateRule, limit: float) -> bool:
    """Compare so that NaN fails."""
    return value <= limit if rule.direction == "at most" else value >= limit


def broken(
    comparison: Comparison, rules: Mapping[str, GateRule], limits: Mapping[str, float]
) -> int:
    """Return how many of a case's own limits are broken."""
    values = comparison.metrics
    return sum(
        not satisfies(values[name], rule, limits[name])
        for name, rule in rules.items()
        if name in values
    )


def failed(outcome: Outcome, rules: Mapping[str, GateRule]) -> bool:
    """Return whether a case could not be compared or breaks a limit."""
    return outcome.comparison is None or broken(outcome.comparison, rules, outcome.limits) > 0


def excess(name: str, outcome: Outcome) -> float:
    """Return how far a metric is beyond the case's own limit; 0 where it holds."""
    assert outcome.comparison is not None
    value, limit = outcome.comparison.metrics[name], outcome.limits[name]
    return max(0.0, rank(name, value) - rank(name, limit))


def rank(name: str, value: float) -> float:
    """Order values from best to worst, NaN worst of all."""
    if np.isnan(value):
        return float("inf")
    return -value if name in HIGHER_IS_BETTER else value


def badness(outcome: Outcome, rules: Mapping[str, GateRule]) -> tuple[int, float, float]:
    """Order outcomes: limits broken, then the share of the tightest, then the main error."""
    if outcome.comparison is None:
        return len(rules) + 1, float("inf"), float("inf")
    values = outcome.comparison.metrics
    shares = [
        share_of_limit(values[name], outcome.limits[name], rule.direction, rule.unit)
        for name, rule in rules.items()
        if name in values
    ]
    error = rank("relative_l2", values.get("relative_l2", 0.0))
    count = broken(outcome.comparison, rules, outcome.limits)
    return count, max(shares, default=0.0), error


def _tokens_differ(comparison: Comparison) -> bool:
    return comparison.tokens is not None and bool(comparison.tokens.differing.any())
