"""The export's side of a verification: what runs a component, and where it comes from."""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.manifest import (
    AdapterRecord,
    ComponentRecord,
    Manifest,
    SourceRecord,
)
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.pipeline.version.providers import where_it_runs
from vampnet_onnx.pipeline.version.session import Opened, open_session
from vampnet_onnx.verify.subjects.case import RunExport
from vampnet_onnx.verify.subjects.registry import subject_of


def open_export(
    artifacts: Artifacts,
    record: ComponentRecord,
    runtime: Runtime,
    *,
    adapters: Sequence[AdapterRecord] = (),
) -> tuple[RunExport, list[str], str]:
    """Return what runs a component, how its signature differs, and where it runs, in words.

    Raises:
        InputError: a file changed since its hash was checked, takes weights from one that
            the manifest does not list, or cannot be loaded by ONNX Runtime.
    """
    subject = subject_of(record)
    if subject.needs:
        return (
            subject.run_whole(artifacts, record, adapters, runtime),
            [],
            f"{record.id}: see its parts",
        )
    session = open_session(artifacts, record, runtime)
    for adapter in adapters:
        session.use_adapter(artifacts.folder / adapter.file.name)
    ran = where_it_runs(record, runtime, session.placement)
    return session.run, signature_mismatches(record, session), ran


def require_runs(
    artifacts: Artifacts,
    records: Sequence[ComponentRecord],
    runtime: Runtime,
    progress: Callable[[str, int, int], None],
) -> None:
    """Refuse before the work what a runtime does not run, all of it at once.

    Raises:
        EnvironmentLacksError: it names what does run there, for ``--component``.
    """
    refused = dict[str, str]()
    graphs = [record for record in records if not subject_of(record).needs]
    for done, record in enumerate(graphs):
        progress(f"where {record.id} runs", done, len(graphs))
        try:
            open_session(artifacts, record, runtime)
        except EnvironmentLacksError as error:
            refused[record.id] = str(error)
    if refused:
        others = [
            record.id
            for record in records
            if not refused.keys()
            & {part.id for part in subject_of(record).parts(record, artifacts.manifest)}
        ]
        without = "".join(f" --component {name}" for name in others)
        raise EnvironmentLacksError(
            "\n".join([*refused.values(), *([f"what runs there:{without}"] if others else [])])
        )


def adapters_of(
    record: ComponentRecord, manifest: Manifest, lora: Mapping[str, str]
) -> list[AdapterRecord]:
    """Return the adapters of the components at work that were made of LoRA files.

    Args:
        lora: sha256 of the LoRA file by transformer.
    """
    if not subject_of(record).adaptable:
        return []
    names = {part.name for part in subject_of(record).parts(record, manifest)}
    made = [adapter for adapter in manifest.adapters if adapter.component in names]
    return [
        adapter for adapter in made if adapter.source.sha256 == lora.get(adapter.component)
    ]


def signature_mismatches(record: ComponentRecord, session: Opened) -> list[str]:
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


def require_same_sources(
    models: ModelSet, listed: Collection[SourceRecord], path: Path
) -> None:
    """Refuse to compare an artifact with checkpoints that it was not made from.

    Raises:
        InputError: a checkpoint is not among those listed, or is listed under another label.
    """
    known = {source.sha256: source for source in listed}
    for source, file in zip(models.sources, models.paths, strict=True):
        if source.sha256 not in known:
            raise InputError(
                f"{file}: {path} was not made from this file (its"
                " sha256 is not in the manifest); give the checkpoint it was made from"
            )
        if known[source.sha256].label != source.label:
            raise InputError(
                f"{path}: says that the weights of {file} are"
                f" {known[source.sha256].label or 'not random'}, and the file says that they"
                f" are {source.label or 'not random'}; export again"
            )
