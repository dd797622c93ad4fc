"""Non-finite values explained: how often, who makes them, and what is wrong there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Case as CaseReport
from vampnet_onnx.verify.subjects.case import Case

from .culprit import MISSING, Localisation
from .graph import GraphModules
from .locate import reference_source, walk
from .nonfinite import EXPORT, find_birth

_NAMED = 4  # seeds and modules named before the rest is counted


def first_nonfinite(reports: Sequence[CaseReport], cases: Sequence[Case]) -> Case | None:
    """Return the smallest case that holds a non-finite value on either side."""
    bad = {c.id for c in reports if c.nonfinite_reference or c.nonfinite_export}
    found = [case for case in cases if case.id in bad]
    return min(found, key=lambda case: case.batch * case.length, default=None)


def explain_nonfinite(
    reports: Sequence[CaseReport],
    case: Case,
    inputs: Mapping[str, np.ndarray],
    record: ComponentRecord,
    models: ModelSet,
    path: Path,
    adapters: Sequence[Path] = (),
) -> str:
    """Say in how many cases values are not finite, and where they come from in one of them.

    Args:
        reports: all cases of the component.
        case: one that holds non-finite values.
        inputs: its input.
        record: of the component.
        models: holds its checkpoint.
        path: of the graph.
        adapters: that were switched on.
    """
    bad = [c for c in reports if c.nonfinite_reference or c.nonfinite_export]
    seeds = list(dict.fromkeys(c.seed for c in bad))
    of_seeds = len({c.seed for c in reports})
    start = (
        f"{record.id} is not finite in {len(bad)} of {len(reports)} cases, with {len(seeds)}"
        f" of {of_seeds} seeds ({_listed([str(seed) for seed in seeds])}). {case.id}:"
    )
    try:
        graph = GraphModules(path, adapters)
        with reference_source(models, record, inputs) as source:
            birth = find_birth(source, graph)
            found = walk(source, graph) if birth.verdict == EXPORT else None
    except InputError as error:
        return f"{start} {error}"
    return f"{start} {birth}" + (f"; {_blamed(found)}" if found else "")


def _blamed(found: Localisation) -> str:
    """Say which modules the error comes from; a NaN is born long after the mistake."""
    if not found.culprits:
        return "no module goes wrong on the reference's own inputs"
    missing = {finding.path for finding in found.findings if finding.verdict == MISSING}
    absent = [path for path in found.culprits if path in missing]
    wrong = [path or "the wiring" for path in found.culprits if path not in absent]
    parts = [f"the export lacks {_listed(absent)}"] if absent else []
    parts += [f"the error is introduced by {_listed(wrong)}"] if wrong else []
    return " and ".join(parts)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
