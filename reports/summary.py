"""What every rendering says in the same way: numbers, headroom, what failed and where."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from .schema import (
    Case,
    Cause,
    Component,
    FormPoint,
    Forms,
    Gate,
    Report,
    RuntimeColumn,
    SelfTest,
    Verdict,
)

# Control characters and those that reorder text: a message must not disguise itself.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff\ufffe\uffff]"
)
_FOREMOST = 3  # components that did not pass, on the first screen of a rendering
_NAMED = 4  # modules named before the rest is counted
SEVERITY = {
    Verdict.FAIL: 0,
    Verdict.INTERRUPTED: 1,
    Verdict.AMBIGUOUS: 2,
    Verdict.PASS: 3,
}


@dataclass(frozen=True)
class Finding:
    """Something that failed, or was excused, and where."""

    verdict: Verdict
    component: str
    what: str
    where: str
    message: str
    command: str = ""
    unnamed: bool = False
    """True if the report names neither a gate nor a case for it."""

    @property
    def text(self) -> str:
        """The finding as one line."""
        line = ", ".join(part for part in (self.component, self.what, self.where) if part)
        return f"{line}: {self.message}" if self.message else line


@dataclass(frozen=True)
class Failure:
    """A component that did not pass: why, and what else is to be said of it.

    Attributes:
        number: of the component in `in_order`, from 1; 0 of the whole run.
        part: the component; None of the whole run.
        why: its causes; where none is known, the first of what it broke.
        rest: the gates and cases that it broke.
        follows: it failed only since another component did.
    """

    number: int
    part: Component | None
    verdict: Verdict
    why: list[Finding]
    rest: list[Finding]
    follows: bool = False


def self_test_verdict(test: SelfTest) -> Verdict:
    """Return FAIL if a defect slipped through or an alarm was false."""
    slipped = any(not trial.caught for trial in test.trials)
    return Verdict.FAIL if slipped or test.alarms else Verdict.PASS


def sentence(report: Report) -> str:
    """Return the verdict line without the verdict, for places where that stands before it."""
    return report.verdict_line.removeprefix(f"{report.verdict}: ")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 case, 2 cases."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    r"""Return `text` with invisible characters written out, such as ``\x1b``."""
    return _INVISIBLE.sub(lambda m: ascii(m.group())[1:-1], text)


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant digits; what is not a number says so.

    A share just below one is never rounded to one: 0.99996 is not agreement, it is 1 - 4e-5.
    """
    if value is None:
        return "not measured"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    if value.is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if not -4 < power < 5:
        return f"{_trim(mantissa)}e{power}"
    text = _trim(f"{value:.{max(0, digits - 1 - power)}f}")
    if text.lstrip("-") == "1" and abs(value) < 1:
        rest = format_number(1 - abs(value), digits)
        return f"1 - {rest}" if value > 0 else f"-1 + {rest}"
    return text


def describe_speed(point: FormPoint) -> str:
    """Return how many times as fast as float32 a form is, with its interval."""
    low, high = (format_number(x) for x in (point.faster_low, point.faster_high))
    if point.faster is not None:
        return f"{format_number(point.faster)} ({low} to {high})"
    if point.faster_low == point.faster_high == 1:
        return "1"
    if point.faster_low <= 1 <= point.faster_high:
        return "no difference measured"
    return f"unsure, {low} to {high}"


def of_float32(forms: Forms, point: FormPoint) -> str:
    """Return a form's share of the bytes of the first, which is float32."""
    return f"{point.bytes / forms.points[0].bytes:.0%}"


def is_heard(report: Report) -> bool:
    """Return whether music was generated in a form: of random weights none is."""
    return any("likelihood_shift" in part.metrics for part in report.components)


def likelihood(report: Report, network: str, form: str) -> str:
    """Return how likely the reference finds what a form generates, against its own.

    Mean difference and standard error of one network's codes, nats a code; empty where no
    music was generated.
    """
    mean, error = f"{network}_likelihood_mean", f"{network}_likelihood_error"
    for part in report.components:
        if part.variant == form and mean in part.metrics:
            return f"{part.metrics[mean]:+.3f} ± {part.metrics[error]:.3f}"
    return ""


def tell_apart(value: float | None, limit: float) -> tuple[str, str]:
    """Format a value and its limit with as many digits as it takes to see them differ."""
    for digits in range(3, 18):
        texts = format_number(value, digits), format_number(limit, digits)
        if texts[0] != texts[1] or value == limit:
            break
    return texts


def share_of_gate(gate: Gate) -> float:
    """Return how much of its limit a gate uses; see `share_of_limit`."""
    return share_of_limit(gate.value, gate.limit, gate.direction, gate.unit)


def share_of_limit(value: float | None, limit: float, direction: str, unit: str) -> float:
    """Return how much of a limit is used: 0 nothing, 1 all of it, infinity beyond any.

    Decibels are compared as amplitudes.  A share that must be at least 0.5 or more (agreement
    of tokens, say) is compared by what it lacks to one: 0.999 where 0.99 is asked uses a
    tenth.
    """
    if value is None or math.isnan(value) or math.isnan(limit):
        return math.inf
    at_most = direction == "at most"
    if value == limit:
        # Exact agreement where exactness is asked leaves nothing to use up.
        exact = limit == (0 if at_most else 1)
        return 0.0 if exact else 1.0
    share = _share(value, limit, at_most, unit)
    # Rounding must not put a value on the other side of its limit.
    holds = (value < limit) == at_most
    return min(share, 1.0) if holds else max(share, math.nextafter(1, 2))


@dataclass(frozen=True)
class Cell:
    """A cell of the matrix of runtimes.

    Attributes:
        word: verdict, or what stands in its place.
        text: headroom, or why it failed or did not run.
        number: of what ran there in `in_order`, from 1; 0 where nothing did.
    """

    word: str
    text: str
    number: int = 0


def notes(report: Report) -> list[str]:
    """Return the notes but those that the table of runtimes says, too."""
    columns = report.runtimes.columns if report.runtimes else []
    said = [f"skipped: {column.name}: {column.skipped}" for column in columns]
    return [note for note in report.notes if note not in said]


def runtime_table(report: Report) -> list[tuple[str, list[Cell]]]:
    """Return the rows of the matrix of runtimes, with a cell a column; none without one."""
    table = report.runtimes
    if table is None:
        return []
    ran = {(part.file_id, part.runtime): i for i, part in enumerate(in_order(report), 1)}
    declared = {(cell.component, cell.runtime): cell.reason for cell in table.unsupported}

    def cell(row: str, column: RuntimeColumn) -> Cell:
        at = row, column.name
        if at in ran:
            part = in_order(report)[ran[at] - 1]
            return Cell(part.verdict.value, _of_cell(part), ran[at])
        if at in declared:
            return Cell("not supported", declared[at])
        return Cell("skipped" if column.skipped else "not run", "")

    return [(row, [cell(row, column) for column in table.columns]) for row in table.rows]


def _of_cell(part: Component) -> str:
    if part.verdict is Verdict.FAIL:
        return "; ".join(describe_cause(cause) for cause in part.causes)
    tightest = tightest_gate(part)
    return f"{headroom(tightest)} ({tightest.name})" if tightest else ""


def headroom_factor(gate: Gate) -> float | None:
    """Return how many times as much of its limit a gate could use: 1 at it, less beyond it.

    Infinite where nothing is used; None of what is not a number.
    """
    if gate.value is None or math.isnan(gate.value):
        return None
    share = share_of_gate(gate)
    return 1 / share if share else math.inf


def headroom(gate: Gate) -> str:
    """Return in words how far a gate is from its limit."""
    share = share_of_gate(gate)
    if gate.value is None or math.isnan(gate.value):
        return format_number(gate.value)
    if share == 0:
        return "exact"
    if share == 1:
        return "at the limit"
    if share > 1 and gate.verdict is Verdict.AMBIGUOUS:
        return "beyond, excused"
    if math.isinf(share):
        return "beyond the limit"
    if gate.unit == "dB":
        distance = f"{format_number(abs(gate.value - gate.limit))} dB"
        return f"{distance} to spare" if share <= 1 else f"{distance} beyond"
    if share <= 1:
        return f"{format_number(1 / share)}x to spare"
    return f"{format_number(share)}x the limit"


def describe_gate(gate: Gate) -> str:
    """Return a gate as a clause: what was measured and what the limit is."""
    value, limit = tell_apart(gate.value, gate.limit)
    unit = f" {gate.unit}" if gate.unit else ""
    own = unit.removesuffix("s") if gate.value == 1 else unit  # 1 token, 2 tokens
    measured = value if gate.value is None else f"{value}{own}"
    return f"{gate.name} is {measured}, must be {gate.direction} {limit}{unit}"


def describe_case(case: Case) -> str:
    """Return the id of a case with what it takes to make it again."""
    return f"case {case.id} (seed {case.seed}, batch {case.batch}, length {case.length})"


def nonfinite(case: Case) -> str:
    """Return how many values of a case are not finite on either side, or nothing."""
    if not case.nonfinite_reference and not case.nonfinite_export:
        return ""
    return (
        f"not finite: {case.nonfinite_export} values of the export,"
        f" {case.nonfinite_reference} of the reference"
    )


def describe_cause(cause: Cause) -> str:
    """Return on one line which module introduces an error, and what happened there."""
    told = describe_what(cause)
    return f"{describe_culprit(cause)}: {told}" if told else describe_culprit(cause)


def describe_culprit(cause: Cause) -> str:
    """Return which module, node or component explains a failure, and by how much."""
    if cause.consequence_of:
        failed = ", ".join([cause.consequence_of, *cause.others])
        return f"a consequence of {failed}, which failed too"
    if not (cause.module or cause.node):
        return "no module was named"
    parts = [f"the error comes from {cause.module or 'outside of any module'}"]
    if cause.node:
        parts.append(f"node {cause.node}" + (f" ({cause.operator})" if cause.operator else ""))
    if cause.error is not None:
        parts.append(f"own error {format_number(cause.error)}")
    return ", ".join(parts)


def describe_what(cause: Cause) -> str:
    """Return what happened, which modules are wrong as well, and whether time was over."""
    parts = [cause.what]
    if cause.others and not cause.consequence_of:
        more = len(cause.others) - _NAMED
        also = ", ".join(cause.others[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        parts.append(f"wrong as well: {also}")
    if cause.stopped:
        spent = format_number(cause.seconds)
        parts.append(f"the time was over after {spent} s, the command goes on")
    return "; ".join(filter(None, parts))


def describe_result(case: Case) -> str:
    """Return a case with all that was measured in it, on one line."""
    measured = [f"{name} = {format_number(value)}" for name, value in case.metrics.items()]
    parts = (describe_case(case), *measured, nonfinite(case), case.message)
    return "; ".join(filter(None, parts))


def find_case(component: Component, case_id: str) -> Case | None:
    """Return the case of that id, if the report has it."""
    return next((case for case in component.cases if case.id == case_id), None)


def metric_names(component: Component) -> list[str]:
    """Return the metrics of a component's cases in the order in which they first appear."""
    return list(dict.fromkeys(name for case in component.cases for name in case.metrics))


def holding(component: Component) -> int:
    """Return how many gates of a component hold."""
    return sum(gate.verdict is not Verdict.FAIL for gate in component.gates)


def describe_gates(component: Component) -> str:
    """Return how many of its gates hold, as a clause."""
    number = len(component.gates)
    does = "holds" if number == 1 else "hold"
    return f"{holding(component)} of {counted(number, 'gate')} {does}"


def describe_bad_seeds(component: Component) -> str:
    """Return how many seeds failed, and how many of them are listed."""
    listed, every = len(component.bad_seeds), component.failed_seeds
    some = f", the first {listed} are listed" if listed < every else ""
    return f"{counted(max(listed, every), 'seed')} that failed{some}"


def tightest_gate(component: Component) -> Gate | None:
    """Return the gate nearest to its limit or furthest beyond it, failures first."""
    return min(
        component.gates,
        key=lambda gate: (SEVERITY[gate.verdict], -share_of_gate(gate)),
        default=None,
    )


def worst_case(component: Component) -> Case | None:
    """Return the worst case; of a report that names none, one that did not pass."""
    case = find_case(component, component.worst_case)
    return case or next(iter(worst_first(component.cases)), None)


def worst_first(cases: list[Case]) -> list[Case]:
    """Return the cases, failed ones first, otherwise in their order."""
    return sorted(cases, key=lambda case: SEVERITY[case.verdict])


def in_order(report: Report) -> list[Component]:
    """Return the components, failed ones first, and last of these what only follows."""
    return sorted(report.components, key=lambda p: (SEVERITY[_worst(p)], follows(p)))


def follows(part: Component) -> bool:
    """Return whether a component failed only since parts of it did."""
    return bool(part.causes) and all(cause.consequence_of for cause in part.causes)


def failures(report: Report) -> list[Failure]:
    """Return what did not pass, an item a component, in the order of `in_order`."""
    items = []
    for number, part in enumerate(in_order(report), 1):
        found = sorted(_component_findings(part), key=lambda item: SEVERITY[item.verdict])
        causes = len(part.causes) or 1
        if found:
            verdict = found[0].verdict
            why, rest = found[:causes], found[causes:]
            items.append(Failure(number, part, verdict, why, rest, follows(part)))
    return [Failure(0, None, f.verdict, [f], []) for f in _of_the_run(report)] + items


def foremost(items: list[Failure]) -> list[Failure]:
    """Return those to show before all others: the first that do not follow from another."""
    return [item for item in items if not item.follows][:_FOREMOST]


def describe_date(date: str) -> str:
    """Return an ISO 8601 date in UTC as a person reads it; any other text as it is."""
    try:
        return datetime.fromisoformat(date).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError):
        return date


def describe_seconds(seconds: float) -> str:
    """Return a duration in seconds, or in minutes and seconds from two minutes on."""
    if not math.isfinite(seconds) or seconds < 120:
        return f"{format_number(seconds)} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def findings(report: Report) -> list[Finding]:
    """Return all that did not pass, failures first.

    A failed component always has a finding, even where the report names neither a gate nor a
    case, and so has a failed report: no rendering may look better than the verdict.
    """
    found = [item for part in report.components for item in _component_findings(part)]
    found += _of_the_run(report)
    return sorted(found, key=lambda finding: SEVERITY[finding.verdict])


def _of_the_run(report: Report) -> list[Finding]:
    """Return the finding of a run that did not pass though no component says why."""
    verdict = report.verdict
    found = (item.verdict for part in report.components for item in _component_findings(part))
    if verdict not in (Verdict.FAIL, Verdict.INTERRUPTED) or verdict in found:
        return []
    return [Finding(verdict, "", "the run", "", sentence(report), unnamed=True)]


def _worst(part: Component) -> Verdict:
    """Return the worst verdict of a component and of its gates, of which some are excused."""
    found = [part.verdict, *(gate.verdict for gate in part.gates)]
    return min(found, key=lambda verdict: SEVERITY[verdict])


def _component_findings(component: Component) -> Iterator[Finding]:
    name = component.id
    for cause in component.causes:
        blamed = describe_culprit(cause)
        where = cause.case and f"case {cause.case}"
        told = describe_what(cause)
        yield Finding(Verdict.FAIL, name, blamed, where, told, command=cause.command)
    gates = [gate for gate in component.gates if gate.verdict is not Verdict.PASS]
    for gate in gates:
        case = find_case(component, gate.worst_case)
        where = describe_case(case) if case else gate.worst_case and f"case {gate.worst_case}"
        yield Finding(gate.verdict, name, describe_gate(gate), where, gate.message)
    if any(gate.verdict is Verdict.FAIL for gate in gates):
        return
    failed = [case for case in component.cases if case.verdict is Verdict.FAIL]
    for case in failed:
        message = case.message or nonfinite(case)
        yield Finding(Verdict.FAIL, name, "a case failed", describe_case(case), message)
    if component.verdict is Verdict.FAIL and not (failed or component.causes):
        why = "the report names no gate and no case"
        yield Finding(Verdict.FAIL, name, "failed", "", why, unnamed=True)


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _share(value: float, limit: float, at_most: bool, unit: str) -> float:
    """Return the share of the limit used by a value that is not the limit itself."""
    if math.isinf(value) or math.isinf(limit):
        return 0.0 if (value < limit) == at_most else math.inf
    if unit == "dB":
        decibels = value - limit if at_most else limit - value
        return float(10 ** (min(max(decibels, -4e3), 4e3) / 20))
    if not at_most and 0.5 <= limit <= 1 and value <= 1:
        return _ratio(1 - value, 1 - limit)
    if at_most:
        return _ratio(value, limit)
    return 0.0 if limit <= 0 < value else _ratio(limit, value)


def _ratio(value: float, limit: float) -> float:
    """Return value / limit; without a positive limit, all or nothing."""
    if limit > 0 and value > 0:
        return value / limit
    return 0.0 if value <= limit or (value <= 0 < limit) else math.inf
