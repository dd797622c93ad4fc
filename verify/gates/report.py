"""Judged cases and components as the report tells them."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import GateRule, VerifySection
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.manifest import ComponentRecord, GateRecord, Manifest
from vampnet_onnx.reports import (
    BadSeed,
    Cause,
    Component,
    Forms,
    Gate,
    HeatMap,
    Report,
    Scatter,
    Source,
    Verdict,
)
from vampnet_onnx.reports import Case as CaseReport
from vampnet_onnx.reports.summary import counted
from vampnet_onnx.verify.subjects.case import Comparison
from vampnet_onnx.verify.subjects.registry import missing_wholes, subject_of

from .case import Outcome, badness, failed, rank

_HEAT_MAP_COLUMNS = 160
_SCATTER_POINTS = 1200


def component_report(
    record: ComponentRecord,
    gates: list[Gate],
    outcomes: Sequence[Outcome],
    rules: Mapping[str, GateRule],
    worst: Outcome | None,
    *,
    interrupted: bool = False,
) -> Component:
    """Sum up what was found of a component.

    Args:
        worst: of the outcomes, with its arrays, for the figures.
        interrupted: the outcomes are not all there were to be.
    """
    cases = [_case_report(outcome, rules) for outcome in outcomes]
    compared = [o.comparison for o in outcomes if o.comparison is not None]
    by_id = {outcome.case.id: badness(outcome, rules) for outcome in outcomes}
    found = [gate.verdict for gate in gates]
    if interrupted:  # gates that have no verdict yet may be what a case fails
        found += [case.verdict for case in cases]
    broken = Verdict.FAIL in found
    held = Verdict.INTERRUPTED if interrupted else Verdict.PASS
    empty = not outcomes or not (gates or interrupted)
    return Component(
        name=record.name,
        variant=record.variant,
        file=record.file.name,
        sha256=record.file.sha256,
        verdict=Verdict.FAIL if broken or empty else held,
        interrupted=interrupted,
        gates=gates,
        cases=cases,
        worst_case=worst.case.id if worst else "",
        bad_seeds=_bad_seeds(cases, by_id),
        metrics=_worst_metrics(compared),
        accuracy_per_codebook=_accuracy_per_codebook(compared),
        heat_map=_heat_map(worst),
        scatter=_scatter(worst),
        told=list(dict.fromkeys(line for c in compared for line in c.told)),
    )


def build_report(
    artifacts: Artifacts,
    components: list[Component],
    reference: str,
    notes: Sequence[str] = (),
    *,
    matrix: VerifySection,
    toolchain: dict[str, str],
    given: Given,
    unfinished: Sequence[str] = (),
    forms: Sequence[Forms] = (),
    unfit: Mapping[str, str] = {},
) -> Report:
    """Sum up what was found in one report.

    Args:
        given: what commands to run next are made of.
        unfinished: components that an interrupt left unverified, wholly or in part.
        unfit: what was not compared since nothing would follow from it, and why.
    """
    manifest = artifacts.manifest
    components = [_with_commands(component, given) for component in components]
    failed_ones = any(component.verdict is Verdict.FAIL for component in components)
    verdict = Verdict.INTERRUPTED if unfinished else Verdict.PASS
    if failed_ones or not components:
        verdict = Verdict.FAIL
    return Report(
        model=manifest.model,
        version=artifacts.version,
        verdict=verdict,
        verdict_line=_verdict_line(manifest, components, verdict, unfinished),
        random_weights=manifest.random_weights,
        notes=[
            f"UNSEALED: {name} is not the file that the manifest vouches for; it was verified"
            " as it is"
            for name in artifacts.changed
        ]
        + list(notes)
        + [f"{name} was not compared: {why}" for name, why in unfit.items()]
        + [
            f"no whole {name} was compared: that takes {', '.join(needs)}"
            for name, needs in missing_wholes(manifest)
        ],
        reference=reference,
        seeds=list(matrix.seeds),
        opset=manifest.components[0].opset,
        toolchain=toolchain,
        sources=[Source(**source.model_dump()) for source in manifest.sources],
        unfinished=list(unfinished),
        unfit=dict(unfit),
        components=components,
        forms=list(forms),
    )


def gate_records(report: Report) -> tuple[GateRecord, ...]:
    """Return the report's gates as the manifest keeps them."""
    return tuple(
        GateRecord(
            component=c.id,
            name=gate.name,
            verdict=gate.verdict.value,
            value=gate.value,
            limit=gate.limit,
        )
        for c in report.components
        for gate in c.gates
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
        seconds=round(outcome.seconds, 3),
    )


def _bad_seeds(
    cases: Sequence[CaseReport], how_bad: Mapping[str, tuple[int, float, float]]
) -> list[BadSeed]:
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
            worst_case=max((case.id for case in own), key=lambda name: how_bad[name]),
        )
        for seed, own in by_seed.items()
        if any(case.verdict is Verdict.FAIL for case in own)
    ]


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


def _with_commands(component: Component, given: Given) -> Component:
    """Return the same with the commands that run what failed again."""
    on = ("--runtimes", component.runtime) if component.runtime else ()
    bad = [
        item.model_copy(
            update={"replay": given.command("verify", *on, "--case", item.worst_case)}
        )
        for item in component.bad_seeds
    ]
    causes = component.causes
    if component.verdict is Verdict.FAIL and not causes:
        causes = [_not_sought(component, given)]
    return component.model_copy(update={"bad_seeds": bad, "causes": causes})


def _not_sought(component: Component, given: Given) -> Cause:
    """Return how to find the module behind a failure."""
    failed = [case for case in component.cases if case.verdict is Verdict.FAIL]
    case = component.worst_case if failed else ""
    walk = case and not subject_of(component.name).needs
    which = ("--case", case) if case else ("--component", component.id)
    return Cause(
        component=component.id,
        case=case,
        what=f"{len(failed)} of {counted(len(component.cases), 'case')} failed",
        command=given.command("localise" if walk else "verify", *which),
    )


def _verdict_line(
    manifest: Manifest,
    components: list[Component],
    verdict: Verdict,
    unfinished: Sequence[str],
) -> str:
    cases = sum(len(component.cases) for component in components)
    gates = [gate for component in components for gate in component.gates]
    failed = [gate for gate in gates if gate.verdict is Verdict.FAIL]
    ties = sum(case.ambiguous for component in components for case in component.cases)
    if verdict is Verdict.FAIL:
        broken = [c.id for c in components if c.verdict is Verdict.FAIL]
        count = f"{len(failed)} of {counted(len(gates), 'gate')}"
        line = f"FAIL: {count} failed, in {', '.join(broken)}"
    elif verdict is Verdict.INTERRUPTED:
        line = f"INTERRUPTED: nothing failed in {counted(cases, 'case')} until then"
    else:
        line = (
            f"{verdict}: {counted(len(components), 'component')}"
            f" {'agrees' if len(components) == 1 else 'agree'} with the reference in"
            f" {counted(cases, 'case')}, all {counted(len(gates), 'gate')} hold"
        )
        if ties:
            count = "1 token is a tie" if ties == 1 else f"{ties} tokens are ties"
            line += f", {count} of the reference"
    if unfinished:
        line += f"; interrupted before {', '.join(unfinished)} was verified to the end"
    if manifest.random_weights:
        line += "; RANDOM WEIGHTS: this proves arithmetic, the model makes no music"
    return line + "."
