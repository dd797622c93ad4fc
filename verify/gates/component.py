"""All cases of one component, and the gates over them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from vampnet_onnx.configs.config import GateRule, Gates, VerifySection
from vampnet_onnx.configs.interrupts import Interrupted, dealt_with
from vampnet_onnx.reports import Component, Gate, Verdict
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Case

from .case import (
    HIGHER_IS_BETTER,
    Outcome,
    badness,
    excess,
    failed,
    rank,
    run_case,
    satisfies,
)
from .measured import Measured
from .report import component_report
from .vacuity import identical_sides, input_sensitivity, vacuous_limits

FILE_GATES = ("audit", "modules", "overflow", "own_loop")
"""Gates of the file itself, which whoever runs cases alone does not ask for."""


# Gates that are measured of all cases at once.
OF_ALL = ("input_sensitivity", "signature_mismatches", "vacuous_limits", "identical_sides")
# Those of them that are of the limits, whatever runs the file.
_OF_LIMITS = ("input_sensitivity", "vacuous_limits")


def check_component(
    sides: Sides,
    *,
    matrix: VerifySection,
    gates: Gates,
    only: Sequence[Case] = (),
    of_file: Mapping[str, Measured] = {},
    run_cases: Callable[[Sequence[Case]], Iterable[Outcome]] | None = None,
    exit_first: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Component:
    """Run every case of a component on both sides and judge it.

    Args:
        only: cases to run; empty for those of the matrix.  Whether the gates could fail at
            all is measured over the matrix's either way.
        of_file: what was measured of the file itself, by gate; such a gate that is not there
            was not asked for.
        run_cases: runs cases in their order; None runs them here, one after the other.
        exit_first: run no more cases after the first that fails.
        progress: told how many cases are done and how many there are.

    Returns:
        What was found; of an interrupt, what was found until then.
    """
    rules = gates.for_component(sides.record.name, sides.record.variant)
    rules = {n: rule for n, rule in rules.items() if n in of_file or n not in FILE_GATES}
    every = sides.reference.cases(sides.record, matrix)
    cases = only or every
    if not cases:
        raise ValueError(f"no case of {sides.record.id} to run")

    def run(case: Case) -> Outcome:
        return run_case(case, sides, gates)

    outcomes: list[Outcome] = []
    worst: Outcome | None = None
    interrupted = False
    progress(0, len(cases))
    since = time.monotonic()
    try:
        for outcome in map(run, cases) if run_cases is None else run_cases(cases):
            if worst is None or badness(outcome, rules) > badness(worst, rules):
                worst = outcome  # the only one whose arrays are kept
            now = time.monotonic()
            outcomes.append(replace(outcome.without_arrays(), seconds=now - since))
            since = now
            progress(len(outcomes), len(cases))
            if exit_first and failed(outcome, rules):
                break
        if worst is not None and worst.comparison is not None and not worst.has_arrays:
            worst = run(worst.case)  # another process ran it and kept them
        measured = {**_of_the_whole(sides, every, gates, outcomes), **of_file}
    except Interrupted:
        if not outcomes:
            raise
        dealt_with()
        interrupted, measured = True, dict(of_file)
        rules = {name: rule for name, rule in rules.items() if name not in OF_ALL}
    judged = [_gate(name, rule, outcomes, measured) for name, rule in rules.items()]
    if interrupted:  # what no case has measured yet has no verdict
        judged = [gate for gate in judged if gate.value is not None or gate.worst_case]
    return component_report(
        sides.record, judged, outcomes, rules, worst, interrupted=interrupted
    )


def check_outcomes(sides: Sides, outcomes: Sequence[Outcome], gates: Gates) -> Component:
    """Judge cases that ran already, by what cases alone can tell.

    Gates of the file itself, and those that ask whether a limit could fail, are of the file
    and of the limits, and not of what runs it.
    """
    rules = gates.for_component(sides.record.name, sides.record.variant)
    others = (*FILE_GATES, *_OF_LIMITS)
    rules = {name: rule for name, rule in rules.items() if name not in others}
    measured = _of_both_sides(sides, outcomes)
    judged = [_gate(name, rule, outcomes, measured) for name, rule in rules.items()]
    worst = max(outcomes, key=lambda outcome: badness(outcome, rules))
    return component_report(sides.record, judged, outcomes, rules, worst)


def _of_both_sides(sides: Sides, outcomes: Sequence[Outcome]) -> dict[str, Measured]:
    """Return what is measured of the two sides, whatever the limits."""
    identical = identical_sides(sides.record, outcomes)
    alike = "every value is the same to the last bit: the export is compared with itself"
    return {
        "signature_mismatches": Measured(len(sides.mismatches), "; ".join(sides.mismatches)),
        "identical_sides": Measured(identical, alike if identical else ""),
    }


def _of_the_whole(
    sides: Sides, cases: Sequence[Case], gates: Gates, outcomes: Sequence[Outcome]
) -> dict[str, Measured]:
    """Return what is measured of all cases at once."""
    rules = gates.for_component(sides.record.name, sides.record.variant)
    rule = rules.get("input_sensitivity")
    sensitivity = input_sensitivity(sides, cases[-1], rule.limit if rule else 0.0)
    vacuous = vacuous_limits(sides, cases, gates)
    held = f"a shuffled output would hold {', '.join(vacuous)}; set a tighter limit"
    return {
        "input_sensitivity": Measured(sensitivity.value, sensitivity.message),
        "vacuous_limits": Measured(len(vacuous), held if vacuous else ""),
        **_of_both_sides(sides, outcomes),
    }


def _gate(
    name: str,
    rule: GateRule,
    outcomes: Sequence[Outcome],
    measured: Mapping[str, Measured],
) -> Gate:
    incomparable = [o for o in outcomes if o.comparison is None]
    ambiguous = sum(o.ties for o in outcomes)
    value: float | None
    worst_case, message, doubt, limit = "", "", "", rule.limit
    unjudged = False
    if name in measured:
        of_all = measured[name]
        value, message, doubt = float(of_all.value), of_all.message, of_all.doubt
        unjudged = of_all.unjudged
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
            perfect = value == 0 and name not in HIGHER_IS_BETTER
            worst_case = "" if perfect else worst.case.id
    if name in FILE_GATES:
        incomparable = []  # a file that does not run can still be looked at
    passed = not incomparable and value is not None and satisfies(value, rule, limit)
    tie = doubt if passed else ""
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
        unjudged=unjudged and passed,
    )
