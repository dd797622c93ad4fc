"""Two versions side by side, as the report tells it: the old version is what is right."""

import dataclasses
from collections.abc import Sequence

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.invocation import shell_line
from vampnet_onnx.configs.manifest import ComponentRecord, Manifest
from vampnet_onnx.configs.text import path_word
from vampnet_onnx.configs.verification import read_verification
from vampnet_onnx.reports import Case, Cause, Component, Gate, Report, Source, Verdict
from vampnet_onnx.reports.summary import counted

from .localisation.changes import what_happened
from .told_run import told_run
from .versions import MATRIX, CaseResult, ComponentChange, GateResult, VersionChange


def comparison_report(
    found: VersionChange,
    old: Artifacts,
    new: Artifacts,
    *,
    started: float,
    adapter: str | None = None,
    runs: Sequence[str] = (),
) -> Report:
    """Return a comparison as a report of the new version.

    Args:
        started: monotonic time at which it began.
        adapter: that was switched on in the new version.
        runs: words of a command that say what both ran on, if not the usual.
    """
    manifest = new.manifest
    unsealed = ["--unsealed"] if old.changed or new.changed else []
    both = [path_word(old.folder), path_word(new.folder), *unsealed, *runs]
    components = [
        _component(change, _record(manifest, change.name), both, adapter)
        for change in found.components
    ]
    components += [_missing(_record(old.manifest, name), both) for name in found.only_old]
    return Report(
        model=manifest.model,
        version=new.version,
        verdict=_verdict(found.holds),
        verdict_line=_verdict_line(found, components),
        random_weights=manifest.random_weights,
        notes=[
            *(
                f"UNSEALED: {side.folder / name} is not the file that its manifest vouches for"
                for side in (old, new)
                for name in side.changed
            ),
            *(f"{tool} {was} is now {now}" for tool, (was, now) in found.toolchain.items()),
            *([_other_sources(old.manifest, new.manifest)] if found.sources_differ else []),
            *_other_exporter(old.manifest, new.manifest),
            *(f"{name} is new, and was compared with nothing" for name in found.only_new),
            *(
                [f"the adapter {adapter} was switched on in the new version"]
                if adapter
                else []
            ),
        ],
        reference=f"the version in {old.folder}",
        seeds=list(MATRIX.seeds),
        opset=manifest.components[0].opset,
        toolchain=manifest.toolchain,
        sources=[Source(**source.model_dump()) for source in manifest.sources],
        components=components,
        run=told_run(
            started, new.folder, old.version if read_verification(old.folder) else ""
        ),
    )


def _other_exporter(old: Manifest, new: Manifest) -> list[str]:
    other = old.source != new.source
    return ["exported by another version of vampnet-onnx"] if other else []


def _other_sources(old: Manifest, new: Manifest) -> str:
    known = {source.sha256 for source in old.sources}
    others = [source.name for source in new.sources if source.sha256 not in known]
    return f"made from another {', '.join(others)}" if others else "made from fewer files"


def _component(
    change: ComponentChange, record: ComponentRecord, both: list[str], adapter: str | None
) -> Component:
    modules = list(dict.fromkeys(item.module for item in change.graph if item.module))
    happened = what_happened(change.graph, modules[0] if modules else "")
    cases = [_case(case) for case in change.cases]
    causes = [] if change.holds else [_cause(change, modules, happened, both, adapter)]
    same = "the files are the same, byte for byte" if change.same_file else ""
    return Component(
        name=record.name,
        variant=record.variant,
        file=record.file.name,
        sha256=record.file.sha256,
        verdict=_verdict(change.holds),
        gates=[_gate(gate) for gate in change.gates],
        cases=cases,
        worst_case=next((g.worst_case for g in change.gates if not g.holds), ""),
        causes=causes,
        metrics={gate.name: gate.value for gate in change.gates},
        told=[line for line in (same, *change.passes) if line]
        + ([f"in the file: {happened}"] if happened and not causes else []),
    )


def _cause(
    change: ComponentChange,
    modules: list[str],
    happened: str,
    both: list[str],
    adapter: str | None,
) -> Cause:
    """Return why a component departs from the old one; the files themselves say it."""
    differs = [*change.signature, *change.dims, *filter(None, [change.message])]
    if differs or adapter:  # there is nothing to walk that both sides have
        switched = ["--adapter", adapter] if adapter else []
        command = shell_line("compare", *both, *switched, "--json")
    else:
        command = shell_line("localise", *both, "--component", change.name)
    return Cause(
        component=change.name,
        case=next((gate.worst_case for gate in change.gates if not gate.holds), ""),
        module=modules[0] if modules else "",
        what="; ".join(filter(None, [*differs, happened])),
        others=modules[1:],
        command=command,
    )


def _missing(record: ComponentRecord, both: list[str]) -> Component:
    command = shell_line("compare", *both, "--json")
    return Component(
        name=record.name,
        variant=record.variant,
        file=record.file.name,
        sha256=record.file.sha256,
        verdict=Verdict.FAIL,
        gates=[],
        cases=[],
        causes=[
            Cause(
                component=record.id,
                what="it is missing in the new version, and the old one has it",
                command=command,
            )
        ],
        metrics={},
    )


def _gate(gate: GateResult) -> Gate:
    known = dataclasses.asdict(gate)
    return Gate(verdict=_verdict(known.pop("holds")), **known)


def _case(case: CaseResult) -> Case:
    return Case(
        id=case.id,
        seed=case.seed,
        batch=case.batch,
        length=case.length,
        verdict=_verdict(case.holds),
        metrics=case.metrics,
        nonfinite_reference=int(case.metrics.get("nonfinite_reference", 0)),
        nonfinite_export=int(case.metrics.get("nonfinite_export", 0)),
    )


def _record(manifest: Manifest, name: str) -> ComponentRecord:
    return next(record for record in manifest.components if record.id == name)


def _verdict(holds: bool) -> Verdict:
    return Verdict.PASS if holds else Verdict.FAIL


def _verdict_line(found: VersionChange, components: list[Component]) -> str:
    if found.holds:
        cases = sum(len(change.cases) for change in found.components)
        return (
            f"PASS: the new version agrees with the old one in"
            f" {counted(len(components), 'component')}, in {counted(cases, 'case')}."
        )
    departs = [change.name for change in found.components if not change.holds]
    lines = [f"departs from the old one in {', '.join(departs)}"] if departs else []
    if found.only_old:
        lines.append(f"lacks {', '.join(found.only_old)}")
    return f"FAIL: the new version {' and '.join(lines)}."
