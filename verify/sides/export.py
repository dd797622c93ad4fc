"""The export's side of a verification: what runs a component."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord, Manifest
from vampnet_onnx.pipeline.version.session import Session
from vampnet_onnx.verify.gates.case import RunExport
from vampnet_onnx.verify.subjects.generation.both_sides import ExportedGeneration
from vampnet_onnx.verify.subjects.generation.cases import GENERATION, parts_of


def open_export(
    artifacts: Artifacts,
    record: ComponentRecord,
    threads: int,
    *,
    lora: Mapping[str, Path],
) -> tuple[RunExport, list[str]]:
    """Return what runs a component, and how its signature differs from the manifest's.

    Args:
        artifacts: opened.
        record: from the manifest, or of whole generations.
        threads: of ONNX Runtime; 0 leaves the choice to it.
        lora: LoRA overlay by transformer; an adapter made of it is switched on.

    Raises:
        InputError: ONNX Runtime cannot load a file.
    """
    adapters = adapters_of(record, artifacts.manifest, lora)
    if record.name == GENERATION:
        generation = ExportedGeneration(artifacts, record, adapters=adapters, threads=threads)
        return generation.run, []
    session = Session(artifacts.path(record), threads=threads)
    for adapter in adapters:
        session.use_adapter(artifacts.folder / adapter.file.name)
    return session.run, signature_mismatches(record, session)


def adapters_of(
    record: ComponentRecord, manifest: Manifest, lora: Mapping[str, Path]
) -> list[AdapterRecord]:
    """Return the adapters of the components at work that were made of these LoRA files.

    Args:
        record: from the manifest, or of whole generations.
        manifest: lists the adapters.
        lora: LoRA file by transformer.
    """
    names = {part.name for part in parts_of(record, manifest)} & set(lora)
    made = [adapter for adapter in manifest.adapters if adapter.component in names]
    return [a for a in made if a.source.sha256 == sha256(lora[a.component])]


def signature_mismatches(record: ComponentRecord, session: Session) -> list[str]:
    """Return how a file's inputs and outputs differ from what the manifest says of them."""
    lines = []
    for kind, wanted, found in (
        ("input", record.inputs, session.inputs),
        ("output", record.outputs, session.outputs),
    ):
        for expected, actual in itertools.zip_longest(wanted, found):
            if expected != actual:
                lines.append(f"{kind} {actual or 'missing'}, should be {expected or 'absent'}")
    return lines
