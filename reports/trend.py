"""Headroom over runs: how near a model came to its limits, and where it fell.

A gate *fell* in a run if, beside the run before it that measured the gate, its verdict is
worse, or it came so many times nearer to its limit, or it has no longer the least there is to
spare; both numbers stand in ``gates.toml``, under ``[headroom]``, with their reasons.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from vampnet_onnx.configs.config import HeadroomRule, load_gates
from vampnet_onnx.configs.errors import InputError

from .history import PastComponent, PastGate, PastRun, read_history
from .schema import Fall, Report, Trend, TrendLine, TrendRun
from .summary import SEVERITY, describe_date, format_number

MOST_RUNS = 30  # that are drawn
_MOST_FALLS = 12
_NAMED = 3  # falls told in a note
FELL, UNDRAWN = "headroom fell", "headroom over runs is not drawn"  # begin a note
_ENOUGH = 1e3  # to have more to spare than this is as good as to have this


def comparable(runs: Sequence[PastRun], model: str, runtime: str) -> list[PastRun]:
    """Return the whole runs of a model on a runtime."""
    whole = [run for run in runs if not run.partial]
    return [run for run in whole if (run.model, run.runtime) == (model, runtime)]


def with_history(report: Report, files: Sequence[Path]) -> Report:
    """Return a report with the trend of all runs in histories that compare with it.

    Raises:
        InputError: a file is no history, or has not two runs of the report's model.
    """
    runtime = report.run.runtime if report.run else ""
    runs = comparable(read_history(*files), report.model, runtime)
    trend = trend_of(runs, load_gates().headroom)
    if trend is None:
        raise InputError(
            f"{', '.join(map(str, files))}: headroom is drawn over two whole runs of"
            f" {report.model} on {runtime or 'a runtime that the report tells'}, and there"
            f" {'is 1' if runs else 'are none'}; verify once more, all of it: vampnet-onnx"
            " verify ARTIFACTS --checkpoint DIR"
        )
    return with_trend(report, trend)


def with_trend(report: Report, trend: Trend | None) -> Report:
    """Return a report with a trend and the note of it, in place of those that it had."""
    notes = [note for note in report.notes if not note.startswith((FELL, UNDRAWN))]
    if trend and (told := where_it_fell(trend)):
        notes.append(told)
    return report.model_copy(update={"trend": trend, "notes": notes})


def trend_of(runs: Sequence[PastRun], rule: HeadroomRule) -> Trend | None:
    """Return the trend of runs that compare, oldest first; None of fewer than two.

    Args:
        rule: what a fall is.
    """
    if len(runs) < 2:
        return None
    first = max(0, len(runs) - MOST_RUNS)
    drawn = runs[first:]
    names = dict.fromkeys(name for run in reversed(drawn) for name in run.components)
    falls = [
        fall.model_copy(update={"run": fall.run - first})
        for name in names
        for fall in _falls_of(name, runs, rule)
        if fall.run >= first
    ]
    falls.sort(key=lambda fall: (not fall.stands, fall.run, _spare(fall.after)))
    return Trend(
        runs=[_told(runs, number) for number in range(first, len(runs))],
        older=first,
        lines=[_line(name, drawn) for name in names],
        falls=falls[:_MOST_FALLS],
        more_falls=max(0, len(falls) - _MOST_FALLS),
        least=rule.least,
        factor=rule.factor,
    )


def in_order(trend: Trend) -> list[TrendLine]:
    """Return the lines, those that fell first, then those nearest to a limit now."""
    standing = {fall.component for fall in trend.falls if fall.stands}

    def key(line: TrendLine) -> tuple[bool, float]:
        return line.component not in standing, _spare(line.headroom[-1])

    return sorted(trend.lines, key=key)


def standing(trend: Trend) -> int:
    """Return how many gates fell and have not recovered."""
    return len({(fall.component, fall.gate) for fall in trend.falls if fall.stands})


def where_it_fell(trend: Trend) -> str:
    """Say in which run what fell and stands, what fell there, and what was other in it."""
    standing = [fall for fall in trend.falls if fall.stands]
    if not standing:
        return ""
    number = standing[0].run
    there = [fall for fall in standing if fall.run == number]
    run = trend.runs[number]
    told = "; ".join(map(describe_fall, there[:_NAMED]))
    more = f"; and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
    differs = (
        f". Other than in the run before: {'; '.join(run.differs)}" if run.differs else ""
    )
    return f"{FELL} {describe_run(trend, number)}: {told}{more}{differs}"


def describe_run(trend: Trend, number: int) -> str:
    """Return which run one is: the newest, or by its version, date and commit."""
    run = trend.runs[number]
    if number == len(trend.runs) - 1:
        return "in the newest run"
    commit = f", commit {run.commit[:10]}" if run.commit else ""
    return f"in {run.version or 'a rejected set'} of {describe_date(run.date)}{commit}"


def describe_fall(fall: Fall) -> str:
    """Return which gate fell, and from where to where."""
    then, now = describe_headroom(fall.before), describe_headroom(fall.after)
    return f"{fall.gate} of {fall.component} from {then} to {now} ({fall.verdict})"


def describe_headroom(headroom: float | None) -> str:
    """Return a headroom of a history in words."""
    if headroom is None or math.isnan(headroom):
        return "no number"
    if math.isinf(headroom):
        return "exact"
    if headroom >= 1:
        return f"{format_number(headroom)}x to spare"
    return f"{format_number(1 / headroom)}x the limit" if headroom else "beyond any limit"


def _falls_of(component: str, runs: Sequence[PastRun], rule: HeadroomRule) -> Iterator[Fall]:
    measured = [
        (number, run.components[component].gates)
        for number, run in enumerate(runs)
        if component in run.components
    ]
    for gate in dict.fromkeys(name for _, gates in measured for name in gates):
        found = [(number, gates[gate]) for number, gates in measured if gate in gates]
        for place, ((_, before), (number, after)) in enumerate(pairwise(found), 1):
            if _fell(before, after, rule):
                since = (later for _, later in found[place:])
                yield Fall(
                    run=number,
                    component=component,
                    gate=gate,
                    before=before.headroom,
                    after=after.headroom,
                    verdict=after.verdict,
                    stands=all(_fell(before, later, rule) for later in since),
                )


def _fell(before: PastGate, after: PastGate, rule: HeadroomRule) -> bool:
    then, now = _spare(before.headroom), _spare(after.headroom)
    worse = SEVERITY[after.verdict] < SEVERITY[before.verdict]
    return worse or now * rule.factor < then or now < rule.least <= then


def _spare(headroom: float | None) -> float:
    """Return how many times there is to spare: nothing of what is no number."""
    return 0.0 if headroom is None or math.isnan(headroom) else min(headroom, _ENOUGH)


def _told(runs: Sequence[PastRun], number: int) -> TrendRun:
    run = runs[number]
    return TrendRun(
        date=run.date,
        run=run.run,
        version=run.version,
        commit=run.commit,
        verdict=run.verdict,
        differs=list(_differences(runs[number - 1], run)) if number else [],
    )


def _differences(before: PastRun, run: PastRun) -> Iterator[str]:
    """Tell what was other than in the run before, what is likeliest to matter first."""
    if changed := _changed(before.sources, run.sources):
        yield f"another {', '.join(changed)}"
    for name in _changed(before.exported_with, run.exported_with):
        was, is_ = (
            tools.get(name, "none") for tools in (before.exported_with, run.exported_with)
        )
        yield f"exported with {name} {is_}, was {was}"
    if before.exporter != run.exporter:
        yield "exported by another source of vampnet-onnx"
    for name in _changed(before.toolchain, run.toolchain):
        was, is_ = (tools.get(name, "none") for tools in (before.toolchain, run.toolchain))
        if (before.exported_with.get(name), run.exported_with.get(name)) != (was, is_):
            yield f"verified with {name} {is_}, was {was}"
    facts = (
        ("commit", before.commit[:10], run.commit[:10]),
        ("manifest", before.fingerprint[:12], run.fingerprint[:12]),
        ("processor", before.processor, run.processor),
        ("reference", before.reference, run.reference),
        ("seeds", before.matrix.seeds, run.matrix.seeds),
        ("frames", before.matrix.frames, run.matrix.frames),
        ("batches", before.matrix.batches, run.matrix.batches),
    )
    for what, then, now in facts:
        if then != now:
            yield f"{what} {now or 'unknown'}, was {then or 'unknown'}"
    for component in run.components:
        yield from _other_limits(
            component, before.components.get(component), run.components[component]
        )


def _other_limits(
    name: str, before: PastComponent | None, now: PastComponent
) -> Iterator[str]:
    for gate, found in now.gates.items():
        then = before.gates.get(gate) if before else None
        if then is not None and then.limit != found.limit:
            limits = format_number(found.limit), format_number(then.limit)
            yield f"limit of {gate} of {name} {limits[0]}, was {limits[1]}"


def _changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return [name for name in {**now, **before} if before.get(name) != now.get(name)]


def _line(component: str, runs: Sequence[PastRun]) -> TrendLine:
    gates, headroom = list[str](), list[float | None]()
    for run in runs:
        part = run.components.get(component)
        found = {} if part is None else part.gates
        name = min(found, key=lambda gate: _spare(found[gate].headroom), default="")
        gates.append(name)
        headroom.append(found[name].headroom if name else None)
    return TrendLine(component=component, gates=gates, headroom=headroom)
