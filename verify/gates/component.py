"""All cases of one component, and the gates over them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from vampnet_onnx.configs.config import GateRule, Gates, VerifySection
from vampnet_onnx.configs.interrupts import Interrupted, dealt_with
from vampnet_onnx.reports import Component, Gate, Verdict
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Case

from .case import HIGHER_IS_BETTER, Outcome, run_case, satisfies
from .measured import Measured
from .report import component_report
from .tally import Tally
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

    tally, interrupted = Tally(rules), False
    progress(0, len(cases))
    since = time.monotonic()
    try:
        for outcome in map(run, cases) if run_cases is None else run_cases(cases):
            now = time.monotonic()
            tally.add(outcome, now - since)
            since = now
            progress(tally.count, len(cases))
            if exit_first and tally.failed:
                break
        worst = tally.worst
        if worst is not None and worst.comparison is not None and not worst.has_arrays:
            worst = run(worst.case)  # another process ran it and kept them
        measured = {**_of_the_whole(sides, every, gates, tally), **of_file}
    except Interrupted:
        if not tally.count:
            raise
        dealt_with()
        interrupted, measured, worst = True, dict(of_file), tally.worst
        rules = {name: rule for name, rule in rules.items() if name not in OF_ALL}
    judged = [_gate(name, rule, tally, measured) for name, rule in rules.items()]
    if interrupted:  # what no case has measured yet has no verdict
        judged = [gate for gate in judged if gate.value is not None or gate.worst_case]
    return component_report(sides.record, judged, tally, worst, interrupted=interrupted)


def check_outcomes(sides: Sides, outcomes: Sequence[Outcome], gates: Gates) -> Component:
    """Judge cases that ran already, by what cases alone can tell.

    Gates of the file itself, and those that ask whether a limit could fail, are of the file
    and of the limits, and not of what runs it.
    """
    rules = gates.for_component(sides.record.name, sides.record.variant)
    others = (*FILE_GATES, *_OF_LIMITS)
    rules = {name: rule for name, rule in rules.items() if name not in others}
    tally = Tally(rules)
    for outcome in outcomes:
        tally.add(outcome, 0.0)
    measured = _of_both_sides(sides, tally)
    judged = [_gate(name, rule, tally, measured) for name, rule in rules.items()]
    return component_report(sides.record, judged, tally, tally.worst)


def _of_both_sides(sides: Sides, tally: Tally) -> dict[str, Measured]:
    """Return what is measured of the two sides, whatever the limits."""
    identical = identical_sides(sides.record, tally)
    alike = "every value is the same to the last bit: the export is compared with itself"
    return {
        "signature_mismatches": Measured(len(sides.mismatches), "; ".join(sides.mismatches)),
        "identical_sides": Measured(identical, alike if identical else ""),
    }


def _of_the_whole(
    sides: Sides, cases: Sequence[Case], gates: Gates, tally: Tally
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
        **_of_both_sides(sides, tally),
    }


def _gate(
    name: str,
    rule: GateRule,
    tally: Tally,
    measured: Mapping[str, Measured],
) -> Gate:
    incomparable = tally.incomparable
    value: float | None
    worst_case, message, doubt, limit = "", "", "", rule.limit
    unjudged = False
    if name in measured:
        of_all = measured[name]
        value, message, doubt = float(of_all.value), of_all.message, of_all.doubt
        unjudged = of_all.unjudged
    elif name == "tokens_ambiguous_share":
        value = tally.ties / tally.tokens if tally.tokens else None
    else:
        worst, value = tally.worst_of(name), None
        if worst is not None and worst.comparison is not None:
            value = worst.comparison.metrics[name]
            limit = worst.limits[name]
            message = worst.message
            # With no error anywhere, no case is worse than another.
            perfect = value == 0 and name not in HIGHER_IS_BETTER
            worst_case = "" if perfect else worst.case.id
    if name in FILE_GATES:
        incomparable = 0  # a file that does not run can still be looked at
    passed = not incomparable and value is not None and satisfies(value, rule, limit)
    tie = doubt if passed else ""
    if passed and value is not None and not satisfies(value, rule, rule.limit):
        tie = f"within the reference's own float32 rounding, which allows {limit:.3g} here"
    elif passed and name == "tokens_ambiguous_share" and tally.ties:
        tie = f"{tally.ties} of the differing tokens are ties of the reference"
    if incomparable and tally.first_incomparable is not None:
        worst_case = tally.first_incomparable.case.id
        message = (
            f"{incomparable} cases could not be compared; {tally.first_incomparable.message}"
        )
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
