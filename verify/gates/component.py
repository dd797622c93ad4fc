"""All cases of one component, and the gates over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from vampnet_onnx.configs.config import GateRule, Gates, VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.reports import BadSeed, Component, Gate, HeatMap, Scatter, Verdict
from vampnet_onnx.reports import Case as CaseReport
from vampnet_onnx.verify.sides.models import Oracle
from vampnet_onnx.verify.subjects.measures import Comparison
from vampnet_onnx.verify.subjects.registry import Case

from .case import Outcome, RunExport, badness, excess, failed, rank, run_case, satisfies
from .vacuity import identical_sides, input_sensitivity, vacuous_limits

_HEAT_MAP_COLUMNS = 160
_SCATTER_POINTS = 1200


def check_component(
    record: ComponentRecord,
    *,
    reference: Oracle,
    export: RunExport,
    matrix: VerifySection,
    gates: Gates,
    mismatches: list[str],
    run_cases: Callable[[Sequence[Case]], Iterable[Outcome]] | None = None,
    exit_first: bool = False,
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
        run_cases: runs cases in their order; None runs them here, one after the other.
        exit_first: run no more cases after the first that fails.
        progress: told how many cases are done and how many there are.
    """
    rules = gates.for_component(record.name)
    cases = reference.cases(record, matrix)

    def run(case: Case) -> Outcome:
        return run_case(case, record, reference, export, gates)

    outcomes: list[Outcome] = []
    worst: Outcome | None = None
    progress(0, len(cases))
    for outcome in map(run, cases) if run_cases is None else run_cases(cases):
        if worst is None or badness(outcome, rules) > badness(worst, rules):
            worst = outcome  # the only one whose arrays are kept
        outcomes.append(outcome.without_arrays())
        progress(len(outcomes), len(cases))
        if exit_first and failed(outcome, rules):
            break
    if worst is not None and worst.comparison is not None and not worst.has_arrays:
        worst = run(worst.case)  # another process ran it and kept them
    measured = _of_the_whole(record, cases, reference, export, gates, outcomes, mismatches)
    judged = [_gate(name, rule, outcomes, measured) for name, rule in rules.items()]
    compared = [o.comparison for o in outcomes if o.comparison is not None]
    reported = [_case_report(outcome, rules) for outcome in outcomes]
    return Component(
        name=record.name,
        variant=record.variant,
        file=record.file.name,
        sha256=record.file.sha256,
        verdict=_overall(judged, outcomes),
        gates=judged,
        cases=reported,
        bad_seeds=_bad_seeds(record, reported),
        metrics=_worst_metrics(compared),
        accuracy_per_codebook=_accuracy_per_codebook(compared),
        heat_map=_heat_map(worst),
        scatter=_scatter(worst),
    )


def _of_the_whole(
    record: ComponentRecord,
    cases: Sequence[Case],
    reference: Oracle,
    export: RunExport,
    gates: Gates,
    outcomes: Sequence[Outcome],
    mismatches: Sequence[str],
) -> dict[str, tuple[float, str]]:
    """Return what is measured of all cases at once, with what there is to say of it."""
    rule = gates.for_component(record.name).get("input_sensitivity")
    sensitivity = input_sensitivity(record, cases[-1], export, rule.limit if rule else 0.0)
    vacuous = vacuous_limits(record, cases, reference, gates)
    identical = identical_sides(record, outcomes)
    held = f"a shuffled output would hold {', '.join(vacuous)}; set a tighter limit"
    alike = "every value is the same to the last bit: the export is compared with itself"
    return {
        "input_sensitivity": (sensitivity.value, sensitivity.message),
        "signature_mismatches": (float(len(mismatches)), "; ".join(mismatches)),
        "vacuous_limits": (float(len(vacuous)), held if vacuous else ""),
        "identical_sides": (float(identical), alike if identical else ""),
    }


def _gate(
    name: str,
    rule: GateRule,
    outcomes: Sequence[Outcome],
    measured: Mapping[str, tuple[float, str]],
) -> Gate:
    incomparable = [o for o in outcomes if o.comparison is None]
    ambiguous = sum(o.ties for o in outcomes)
    value: float | None
    worst_case, message, limit = "", "", rule.limit
    if name in measured:
        value, message = measured[name]
    elif name == "tokens_ambiguous_share":
        counts = [o.comparison.tokens for o in outcomes if o.comparison]
        tokens = sum(int(c.compared.sum()) for c in counts if c)
        value = ambiguous / tokens if tokens else None
    else:
        by_case = [
            (excess(name, o), rank(name, o.comparison.metrics[name]), o)
            for o in outcomes
            if o.comparison is not None and name in o.comparison.metrics
        ]
        value = None
        if by_case:
            worst = max(by_case, key=lambda item: item[:2])[2]
            value = worst.comparison.metrics[name] if worst.comparison else None
            limit = worst.limits[name]
            message = worst.message
            # With no error anywhere, no case is worse than another.
            worst_case = worst.case.id if value else ""
    passed = not incomparable and value is not None and satisfies(value, rule, limit)
    tie = ""
    if passed and value is not None and not satisfies(value, rule, rule.limit):
        tie = f"within the reference's own float32 rounding, which allows {limit:.3g} here"
    elif passed and name == "tokens_ambiguous_share" and ambiguous:
        tie = f"{ambiguous} of the differing tokens are ties of the reference"
    if incomparable:
        worst_case = incomparable[0].case.id
        message = f"{len(incomparable)} cases could not be compared; {incomparable[0].message}"
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


def _case_report(outcome: Outcome, rules: Mapping[str, GateRule]) -> CaseReport:
    case, comparison = outcome.case, outcome.comparison
    if failed(outcome, rules):
        verdict = Verdict.FAIL
    else:
        widened = any(outcome.limits[name] != rule.limit for name, rule in rules.items())
        verdict = Verdict.AMBIGUOUS if outcome.ties or widened else Verdict.PASS
    values = comparison.metrics if comparison else {}
    return CaseReport(
        id=case.id,
        seed=case.seed,
        batch=case.batch,
        length=case.length,
        verdict=verdict,
        metrics=values,
        ambiguous=outcome.ties,
        nonfinite_reference=int(values.get("nonfinite_reference", 0)),
        nonfinite_export=int(values.get("nonfinite_export", 0)),
        message=outcome.message,
    )


def _bad_seeds(record: ComponentRecord, cases: Sequence[CaseReport]) -> list[BadSeed]:
    by_seed: dict[int, list[CaseReport]] = {}
    for case in cases:
        by_seed.setdefault(case.seed, []).append(case)
    return [
        BadSeed(
            seed=seed,
            failed=sum(case.verdict is Verdict.FAIL for case in own),
            cases=len(own),
            nonfinite_reference=sum(case.nonfinite_reference for case in own),
            nonfinite_export=sum(case.nonfinite_export for case in own),
            replay="vampnet-onnx verify ARTIFACTS --checkpoint DIR"
            f" --component {record.id} --seeds {seed}",
        )
        for seed, own in by_seed.items()
        if any(case.verdict is Verdict.FAIL for case in own)
    ]


def _overall(gates: list[Gate], outcomes: Sequence[Outcome]) -> Verdict:
    failed = any(gate.verdict is Verdict.FAIL for gate in gates)
    return Verdict.FAIL if failed or not gates or not outcomes else Verdict.PASS


def _worst_metrics(compared: list[Comparison]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for comparison in compared:
        for name, value in comparison.metrics.items():
            found.setdefault(name, []).append(value)
    return {name: max(values, key=partial(rank, name)) for name, values in found.items()}


def _accuracy_per_codebook(compared: list[Comparison]) -> list[float]:
    counts = [c.tokens for c in compared if c.tokens is not None]
    if not counts:
        return []
    total = np.sum([c.compared for c in counts], axis=0)
    differing = np.sum([c.differing for c in counts], axis=0)
    return [float(share) for share in 1 - differing / total]


def _heat_map(worst: Outcome | None) -> HeatMap | None:
    if worst is None or worst.comparison is None or not worst.comparison.error.size:
        return None
    comparison = worst.comparison
    pooled = -(-comparison.error.shape[1] // _HEAT_MAP_COLUMNS)
    starts = np.arange(0, comparison.error.shape[1], pooled)
    cells = np.maximum.reduceat(comparison.error, starts, axis=1)
    return HeatMap(
        case=worst.case.id,
        quantity="codes that differ"
        if comparison.of_codes
        else f"largest absolute error of {comparison.quantity}",
        rows=comparison.rows,
        columns_per_cell=pooled,
        column_unit=comparison.unit,
        values=cells.tolist(),
    )


def _scatter(worst: Outcome | None) -> Scatter | None:
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
