"""A whole verification: every component of an artifact version against the oracle."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates, VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, sha256
from vampnet_onnx.configs.manifest import (
    MANIFEST_NAME,
    AdapterRecord,
    ComponentRecord,
    GateRecord,
    Manifest,
)
from vampnet_onnx.configs.names import CODEC, TRANSFORMERS
from vampnet_onnx.export.components.registry import is_known
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.models.networks.layers import merge_lora
from vampnet_onnx.reports import Component, Report, Source, Verdict

from .gates.component import check_component
from .gates.processes import Job, in_processes
from .localisation.explain import explain_nonfinite, first_nonfinite
from .sides.export import adapters_of, open_export
from .sides.models import Oracle, Reference
from .sides.origin import require_same_sources
from .subjects.generation.cases import GENERATION, NEEDED, generation_record, parts_of

Progress = Callable[[str, int, int], None]


def verify_artifacts(
    artifacts: Artifacts,
    checkpoint: Path,
    *,
    matrix: VerifySection,
    gates: Gates,
    lora: dict[str, Path],
    toolchain: dict[str, str],
    only: tuple[str, ...] = (),
    jobs: int = 1,
    exit_first: bool = False,
    oracle: Callable[[ModelSet], Oracle] = Reference,
    progress: Progress,
) -> Report:
    """Verify a version against the checkpoints it was made from.

    Args:
        artifacts: opened, so its hashes are checked.
        checkpoint: folder of the checkpoints.
        matrix: seeds, lengths and batches.
        gates: thresholds.
        lora: LoRA overlay by transformer.  One that the version has an adapter of is
            switched on there.
        toolchain: versions for the report.
        only: components to check; empty for all.
        jobs: processes that run cases; more than one for the standard oracle only.
        exit_first: stop at the first case that fails.
        oracle: makes the reference from our models of the checkpoint.
        progress: told component, cases done and cases in all.

    What the oracle has nothing to compare with is left out, and the report says so, unless it
    was asked for by name.

    Raises:
        InputError: the checkpoints are not those of the artifacts, or nothing is left.
    """
    records = _chosen(artifacts.manifest, only)
    at_work = [part for r in records for part in parts_of(r, artifacts.manifest)]
    if any(part.name in TRANSFORMERS for part in at_work):
        _require_same_lora(lora, artifacts)
    if matrix.threads:
        torch.set_num_threads(matrix.threads)
    components, left_out, notes = list[Component](), list[str](), list[str]()
    models, opened_for, overlays = None, None, dict[str, Path]()
    manifest = artifacts.manifest
    known = {*manifest.sources, *(adapter.source for adapter in manifest.adapters)}
    for record in records:
        progress(record.id, 0, 1)
        parts = parts_of(record, artifacts.manifest)
        needed = tuple(part.name for part in parts if part.name in TRANSFORMERS)
        if models is None or needed != opened_for:
            models = None  # given back before the next ones are read
            overlays = {n: p for n, p in lora.items() if n in needed}
            models = open_models(checkpoint, only=needed, lora=overlays)
            for model in models.transformers.values():
                merge_lora(model)
            opened_for = needed
        for part in parts:
            require_same_sources(models, known, artifacts.path(part))
            _require_same_dims(models, artifacts, part)
        reference = oracle(models)
        described = reference.description
        if not only and not reference.knows(record):
            left_out.append(record.id)
            continue
        export, mismatches = open_export(artifacts, record, matrix.threads, lora=overlays)
        adapters = adapters_of(record, artifacts.manifest, overlays)
        notes += [
            f"{record.id} was verified with the adapter {adapter.name} of {adapter.component}"
            for adapter in adapters
        ]
        job = Job(artifacts, record, checkpoint, needed, overlays, gates, matrix.threads)
        found = check_component(
            record,
            reference=reference,
            export=export,
            matrix=matrix,
            gates=gates,
            mismatches=mismatches,
            run_cases=in_processes(job, jobs) if jobs > 1 else None,
            exit_first=exit_first,
            progress=partial(progress, record.id),
        )
        components.append(found)
        del export
        notes += _nonfinite(found, record, reference, matrix, models, artifacts, adapters)
        del reference
        if exit_first and found.verdict is Verdict.FAIL:
            notes.append(f"stopped at the first failure, in {record.id}, as was asked")
            break
    if not components:
        raise InputError(f"{described} has nothing to compare {', '.join(left_out)} with")
    notes += [f"not verified, since the reference has no part like it: {n}" for n in left_out]
    return build_report(
        artifacts, components, described, notes, matrix=matrix, toolchain=toolchain
    )


def _nonfinite(
    found: Component,
    record: ComponentRecord,
    reference: Oracle,
    matrix: VerifySection,
    models: ModelSet,
    artifacts: Artifacts,
    adapters: Sequence[AdapterRecord],
) -> list[str]:
    """Explain non-finite values, if there are any; a generation's are those of its parts."""
    case = first_nonfinite(found.cases, reference.cases(record, matrix))
    if case is None or record.name == GENERATION:
        return []
    inputs = reference.inputs(case, record)
    path = artifacts.path(record)
    files = [artifacts.folder / adapter.file.name for adapter in adapters]
    return [explain_nonfinite(found.cases, case, inputs, record, models, path, files)]


def build_report(
    artifacts: Artifacts,
    components: list[Component],
    reference: str,
    notes: Sequence[str] = (),
    *,
    matrix: VerifySection,
    toolchain: dict[str, str],
) -> Report:
    """Sum up what was found in one report.

    Args:
        artifacts: that were verified.
        components: what was found of each.
        reference: what they were compared with.
        notes: what else there is to say.
        matrix: seeds, for the record.
        toolchain: versions.
    """
    manifest = artifacts.manifest
    verdict = _verdict(components)
    return Report(
        model=manifest.model,
        version=artifacts.version,
        verdict=verdict,
        verdict_line=_verdict_line(manifest, components, verdict),
        random_weights=manifest.random_weights,
        notes=[
            f"UNSEALED: {name} is not the file that the manifest vouches for; it was verified"
            " as it is"
            for name in artifacts.changed
        ]
        + list(notes)
        + _without_generation(manifest)
        + [note for component in components for note in _next_steps(component)],
        reference=reference,
        seeds=list(matrix.seeds),
        opset=manifest.components[0].opset,
        toolchain=toolchain,
        sources=[Source(**source.model_dump()) for source in manifest.sources],
        components=components,
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


def _chosen(manifest: Manifest, only: tuple[str, ...]) -> list[ComponentRecord]:
    whole = generation_record(manifest)
    records = [*manifest.components, *([whole] if whole else [])]
    known = [record.id for record in records]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise InputError(f"no component {unknown[0]!r} here; there are {', '.join(known)}")
    strange = [
        record.id
        for record in manifest.components
        if not is_known(record.name, record.variant)
    ]
    if strange:
        raise InputError(
            f"the manifest lists {strange[0]!r}, which this version of the tool does not know"
        )
    if not manifest.components:
        raise InputError("the manifest lists no components, so there is nothing to verify")
    return [record for record in records if not only or record.id in only]


def _without_generation(manifest: Manifest) -> list[str]:
    """Say so where no whole generation can be compared."""
    if generation_record(manifest) is not None:
        return []
    return [f"no whole generation was compared: that takes {', '.join(NEEDED)}"]


def _next_steps(component: Component) -> list[str]:
    """Return how to find the module behind a failure."""
    failed = [case for case in component.cases if case.verdict is Verdict.FAIL]
    if not failed:
        return []
    smallest = min(failed, key=lambda case: case.batch * case.length)
    name = component.id
    return [
        f"{name} fails in {len(failed)} of {len(component.cases)} cases; to name the module:"
        f" vampnet-onnx localise ARTIFACTS --checkpoint DIR --component {name}"
        f" --seed {smallest.seed} --batch {smallest.batch} --length {smallest.length}"
    ]


def _require_same_lora(lora: dict[str, Path], artifacts: Artifacts) -> None:
    """Refuse to compare an export that has a LoRA file in it with a model that has not."""
    given = {sha256(path) for path in lora.values() if is_there(path)}
    left = [s for s in artifacts.manifest.sources if s.sha256 not in given]
    counts = Counter(source.name for source in left)
    plain = {f"{name}.pth" for name in (CODEC, *TRANSFORMERS)}
    for source in left:
        if source.name not in plain or counts[source.name] > 1:
            raise InputError(
                f"{artifacts.folder}: made with the LoRA file {source.name} (sha256"
                f" {source.sha256[:16]}…); give it with --lora"
            )


def _require_same_dims(
    models: ModelSet, artifacts: Artifacts, record: ComponentRecord
) -> None:
    model = models.transformers.get(record.name, models.codec)
    assert model is not None
    if dataclasses.asdict(model.dims) != record.dims:
        raise InputError(
            f"{artifacts.folder / MANIFEST_NAME}: the dimensions of {record.id} are not those"
            f" of {models.folder}; the manifest was changed, export again"
        )


def _verdict(components: list[Component]) -> Verdict:
    failed = any(component.verdict is Verdict.FAIL for component in components)
    return Verdict.FAIL if failed or not components else Verdict.PASS


def _verdict_line(manifest: Manifest, components: list[Component], verdict: Verdict) -> str:
    cases = sum(len(component.cases) for component in components)
    gates = [gate for component in components for gate in component.gates]
    failed = [gate for gate in gates if gate.verdict is Verdict.FAIL]
    ties = sum(case.ambiguous for component in components for case in component.cases)
    if verdict is Verdict.FAIL:
        broken = [c.name for c in components if c.verdict is Verdict.FAIL]
        line = f"FAIL: {len(failed)} of {len(gates)} gates failed, in {', '.join(broken)}"
    else:
        line = (
            f"{verdict}: {len(components)} components agree with the reference in"
            f" {cases} cases, all {len(gates)} gates hold"
        )
        if ties:
            count = "1 token is a tie" if ties == 1 else f"{ties} tokens are ties"
            line += f", {count} of the reference"
    if manifest.random_weights:
        line += "; RANDOM WEIGHTS: this proves arithmetic, the model makes no music"
    return line + "."
