"""The export's side of a verification: what runs a component."""

from __future__ import annotations

import itertools

from configs.manifest import ComponentRecord
from pipeline.artifacts import Artifacts
from pipeline.session import Session

from .generation import ExportedGeneration
from .generation_cases import GENERATION
from .outcome import RunExport


def open_export(
    artifacts: Artifacts, record: ComponentRecord, threads: int
) -> tuple[RunExport, list[str]]:
    """Return what runs a component, and how its signature differs from the manifest's.

    Args:
        artifacts: opened.
        record: from the manifest, or of whole generations.
        threads: of ONNX Runtime; 0 leaves the choice to it.

    Raises:
        InputError: ONNX Runtime cannot load a file.
    """
    if record.name == GENERATION:
        return ExportedGeneration(artifacts, record, threads=threads).run, []
    session = Session(artifacts.path(record), threads=threads)
    return session.run, signature_mismatches(record, session)


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
