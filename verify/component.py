"""All cases of one component, and the gates over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from configs.config import GateRule, Gates, VerifySection
from configs.manifest import ComponentRecord
from reports import Case as CaseReport
from reports import Component, Gate, HeatMap, Scatter, Verdict

from .cases import Case, make_inputs
from .compare import Comparison, SignatureError, compare, require_same_signature
from .drawn_cases import DRAWN
from .generation_cases import GENERATION
from .metrics import relative_l2
from .noise import measure_noise, widened_limit, widened_ties
from .reference import Oracle

RunExport = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

# Metrics of which more is better; of all others less is.
_HIGHER_IS_BETTER = frozenset({"pearson", "snr_db", "token_accuracy", "input_sensitivity"})
_HEAT_MAP_COLUMNS = 160
_SCATTER_POINTS = 1200


@dataclass(frozen=True)
class _Outcome:
    """A case that ran.

    Attributes:
        case: which.
        comparison: None where the sides could not be compared.
        limits: by metric, as widened by the reference's own rounding.
        message: what went wrong and where.
    """

    case: Case
    comparison: Comparison | None
    limits: Mapping[str, float]
    message: str = ""


def check_component(
    record: ComponentRecord,
    *,
    reference: Oracle,
    export: RunExport,
    matrix: VerifySection,
    gates: Gates,
    mismatches: list[str],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Component:
    """Run every case of a component on both sides and judge it.

    Args:
        record: from the manifest.
        reference: the oracle.
        export: runs the artifact.
        matrix: seeds, lengths and batches.
        gates: thresholds.
        mismatches: how the file's signature differs from the manifest's, a line a tensor.
        progress: told how many cases are done and how many there are.
    """
    rules = gates.for_component(record.name)
    cases = reference.cases(record, matrix)
    outcomes: list[_Outcome] = []
    worst: _Outcome | None = None
    for done, case in enumerate(cases):
        progress(done, len(cases))
        inputs = reference.inputs(case, record)
        outcome = _run_case(case, record, inputs, reference, export, gates)
        if worst is None or _badness(outcome, rules) > _badness(worst, rules):
            worst = outcome
        # Arrays are kept for the worst case only.
        outcomes.append(outcome if outcome is worst else _without_arrays(outcome))
    progress(len(cases), len(cases))
    sensitivity = input_sensitivity(record, cases[-1], export)
    judged = [
        _gate(name, rule, outcomes, sensitivity, mismatches) for name, rule in rules.items()
    ]
    compared = [o.comparison for o in outcomes if o.comparison is not None]
    return Component(
        name=record.name,
        variant=record.variant,
        file=record.file.name,
        sha256=record.file.sha256,
        verdict=_overall(judged, outcomes),
        gates=judged,
        cases=[_case_report(outcome, rules) for outcome in outcomes],
        metrics=_worst_metrics(compared),
        accuracy_per_codebook=_accuracy_per_codebook(compared),
        heat_map=_heat_map(worst),
        scatter=_scatter(worst),
    )


def input_sensitivity(record: ComponentRecord, like: Case, export: RunExport) -> float:
    """Return how far outputs move when the input does, the least of all outputs.

    Every input differs between two cases of other seeds, so an output that stays where it was
    is not computed from the input at all.

    Args:
        record: from the manifest.
        like: a case whose shape to use.
        export: runs the artifact.

    Returns:
        ||second - first|| / ||first|| of the output that moves least.
    """
    try:
        first, second = (
            export(make_inputs(replace(like, seed=like.seed + offset), record))
            for offset in (0, 1)
        )
    except Exception:  # the cases have the message; here it only means: nothing was measured
        return float("nan")
    # Not Python's min, which loses a NaN that is not the first.
    return float(np.min([relative_l2(first[name], second[name]) for name in first]))


def _run_case(
    case: Case,
    record: ComponentRecord,
    inputs: Mapping[str, np.ndarray],
    reference: Oracle,
    export: RunExport,
    gates: Gates,
) -> _Outcome:
    rules = gates.for_component(record.name)
    limits = {name: rule.limit for name, rule in rules.items()}
    try:
        expected = reference.run(record, inputs)
    except FloatingPointError as error:
        return _Outcome(case, None, limits, f"the reference failed: {error}")
    try:
        found = export(inputs)
    except Exception as error:  # ONNX Runtime's errors share no other base
        return _Outcome(case, None, limits, f"the artifact failed to run: {error}")
    try:
        require_same_signature(expected.outputs, found)
    except SignatureError as error:
        return _Outcome(case, None, limits, str(error))
    comparison = compare(record, expected, found, gates.ties)
    # What is drawn has no weights whose rounding could amplify, and a generation has the
    # rounding of its logits in its margins: their limits stay.
    if record.name not in (*DRAWN, GENERATION) and _broken(comparison, rules, limits):
        noise = measure_noise(record, expected, reference.in_float64.run(record, inputs))
        ties = widened_ties(gates.ties, noise, gates.noise)
        comparison = compare(record, expected, found, ties)
        limits = {n: widened_limit(n, rule, noise, gates.noise) for n, rule in rules.items()}
    return _Outcome(case, comparison, limits, comparison.message)


def _gate(
    name: str,
    rule: GateRule,
    outcomes: list[_Outcome],
    sensitivity: float,
    mismatches: list[str],
) -> Gate:
    failed = [o for o in outcomes if o.comparison is None]
    ambiguous = sum(_ties(o) for o in outcomes)
    value: float | None
    worst_case, message, limit = "", "", rule.limit
    if name == "input_sensitivity":
        value = sensitivity
    elif name == "signature_mismatches":
        value, message = float(len(mismatches)), "; ".join(mismatches)
    elif name == "tokens_ambiguous_share":
        counts = [o.comparison.tokens for o in outcomes if o.comparison]
        tokens = sum(int(c.compared.sum()) for c in counts if c)
        value = ambiguous / tokens if tokens else None
    else:
        measured = [
            (_excess(name, o), _rank(name, o.comparison.metrics[name]), o)
            for o in outcomes
            if o.comparison is not None and name in o.comparison.metrics
        ]
        value = None
        if measured:
            worst = max(measured, key=lambda item: item[:2])[2]
            value = worst.comparison.metrics[name] if worst.comparison else None
            limit = worst.limits[name]
            message = worst.message
            # With no error anywhere, no case is worse than another.
            worst_case = worst.case.id if value else ""
    passed = not failed and value is not None and _satisfies(value, rule, limit)
    tie = ""
    if passed and value is not None and not _satisfies(value, rule, rule.limit):
        tie = f"within the reference's own float32 rounding, which allows {limit:.3g} here"
    elif passed and name == "tokens_ambiguous_share" and ambiguous:
        tie = f"{ambiguous} of the differing tokens are ties of the reference"
    if failed:
        worst_case = failed[0].case.id
        message = f"{len(failed)} cases could not be compared; {failed[0].message}"
    return Gate(
        name=name,
        verdict=Verdict.AMBIGUOUS if tie else Verdict.PASS if passed else Verdict.FAIL,
        value=value,
        limit=rule.limit,
        direction=rule.direction,
        unit=rule.unit,
        reason=rule.reason,
        worst_case=worst_case,
        message=tie if passed else message,
    )


def _ties(outcome: _Outcome) -> int:
    tokens = outcome.comparison.tokens if outcome.comparison else None
    return tokens.ambiguous if tokens else 0


def _satisfies(value: float, rule: GateRule, limit: float) -> bool:
    """Compare so that NaN fails."""
    return value <= limit if rule.direction == "at most" else value >= limit


def _broken(
    comparison: Comparison, rules: Mapping[str, GateRule], limits: Mapping[str, float]
) -> int:
    """Return how many of a case's own limits are broken."""
    values = comparison.metrics
    return sum(
        not _satisfies(values[name], rule, limits[name])
        for name, rule in rules.items()
        if name in values
    )


def _excess(name: str, outcome: _Outcome) -> float:
    """Return how far a metric is beyond the case's own limit; negative where it holds."""
    assert outcome.comparison is not None
    value, limit = outcome.comparison.metrics[name], outcome.limits[name]
    return max(0.0, _rank(name, value) - _rank(name, limit))


def _rank(name: str, value: float) -> float:
    """Order values from best to worst, NaN worst of all."""
    if np.isnan(value):
        return float("inf")
    return -value if name in _HIGHER_IS_BETTER else value


def _badness(outcome: _Outcome, rules: Mapping[str, GateRule]) -> tuple[int, float]:
    """Order outcomes by the number of limits broken, then by the main error."""
    if outcome.comparison is None:
        return len(rules) + 1, float("inf")
    broken = _broken(outcome.comparison, rules, outcome.limits)
    return broken, _rank("relative_l2", outcome.comparison.metrics.get("relative_l2", 0.0))


def _case_report(outcome: _Outcome, rules: Mapping[str, GateRule]) -> CaseReport:
    case, comparison = outcome.case, outcome.comparison
    if comparison is None or _badness(outcome, rules)[0]:
        verdict = Verdict.FAIL
    else:
        widened = any(outcome.limits[name] != rule.limit for name, rule in rules.items())
        verdict = Verdict.AMBIGUOUS if _ties(outcome) or widened else Verdict.PASS
    values = comparison.metrics if comparison else {}
    return CaseReport(
        id=case.id,
        seed=case.seed,
        batch=case.batch,
        length=case.length,
        verdict=verdict,
        metrics=values,
        ambiguous=_ties(outcome),
        nonfinite_reference=int(values.get("nonfinite_reference", 0)),
        nonfinite_export=int(values.get("nonfinite_export", 0)),
        message=outcome.message,
    )


def _overall(gates: list[Gate], outcomes: list[_Outcome]) -> Verdict:
    failed = any(gate.verdict is Verdict.FAIL for gate in gates)
    return Verdict.FAIL if failed or not gates or not outcomes else Verdict.PASS


def _worst_metrics(compared: list[Comparison]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for comparison in compared:
        for name, value in comparison.metrics.items():
            found.setdefault(name, []).append(value)
    return {name: max(values, key=partial(_rank, name)) for name, values in found.items()}


def _accuracy_per_codebook(compared: list[Comparison]) -> list[float]:
    counts = [c.tokens for c in compared if c.tokens is not None]
    if not counts:
        return []
    total = np.sum([c.compared for c in counts], axis=0)
    differing = np.sum([c.differing for c in counts], axis=0)
    return [float(share) for share in 1 - differing / total]


def _without_arrays(outcome: _Outcome) -> _Outcome:
    if outcome.comparison is None:
        return outcome
    empty = np.zeros((0, 0))
    return replace(
        outcome,
        comparison=replace(outcome.comparison, error=empty, reference=empty, export=empty),
    )


def _heat_map(worst: _Outcome | None) -> HeatMap | None:
    if worst is None or worst.comparison is None or not worst.comparison.error.size:
        return None
    comparison = worst.comparison
    pooled = -(-comparison.error.shape[1] // _HEAT_MAP_COLUMNS)
    starts = np.arange(0, comparison.error.shape[1], pooled)
    cells = np.maximum.reduceat(comparison.error, starts, axis=1)
    return HeatMap(
        case=worst.case.id,
        quantity=f"largest absolute error of {comparison.quantity}",
        rows=comparison.rows,
        columns_per_cell=pooled,
        column_unit=comparison.unit,
        values=cells.tolist(),
    )


def _scatter(worst: _Outcome | None) -> Scatter | None:
    if worst is None or worst.comparison is None or not worst.comparison.reference.size:
        return None
    comparison = worst.comparison
    reference, export = comparison.reference.ravel(), comparison.export.ravel()
    count = min(_SCATTER_POINTS, reference.size)
    picked = np.linspace(0, reference.size - 1, count).astype(np.int64)
    # An even sample would miss a single bad value: the largest error is always shown.
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(np.abs(export - reference), nan=np.inf)
    picked = np.unique(np.append(picked, int(error.argmax())))
    return Scatter(
        case=worst.case.id,
        quantity=comparison.quantity,
        reference=reference[picked].tolist(),
        export=export[picked].tolist(),
    )
