"""Non-finite values explained: how often, who makes them, and what is wrong there."""

from collections.abc import Sequence

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.sides.oracle import Oracle
from vampnet_onnx.verify.subjects.registry import subject_of

from .culprit import MISSING, Localisation
from .graph import GraphModules
from .locate import reference_source, walk
from .nonfinite import EXPORT, find_birth

_NAMED = 4  # seeds and modules named before the rest is counted


def explain_nonfinite(
    found: Component,
    record: ComponentRecord,
    reference: Oracle,
    matrix: VerifySection,
    models: ModelSet,
    artifacts: Artifacts,
    adapters: Sequence[AdapterRecord],
) -> list[str]:
    """Say how often values are not finite, and where they come from in the smallest case.

    Of a whole nothing is said: what its parts make is said of them.

    Args:
        found: all cases of the component.
        record: of the component.
        reference: the oracle of these cases.
        matrix: what the cases were made of.
        models: holds its checkpoint.
        artifacts: hold its graph.
        adapters: that were switched on.
    """
    bad = [c for c in found.cases if c.nonfinite_reference or c.nonfinite_export]
    if not bad or subject_of(record).needs:
        return []
    names = {c.id for c in bad}
    cases = [case for case in reference.cases(record, matrix) if case.id in names]
    case = min(cases, key=lambda case: case.batch * case.length)
    seeds = list(dict.fromkeys(str(c.seed) for c in bad))
    start = (
        f"{record.id} is not finite in {len(bad)} of {len(found.cases)} cases, with"
        f" {len(seeds)} of {len({c.seed for c in found.cases})} seeds ({_listed(seeds)})."
        f" {case.id}:"
    )
    files = [artifacts.folder / adapter.file.name for adapter in adapters]
    try:
        graph = GraphModules(artifacts.path(record), files)
        with reference_source(models, record, reference.inputs(record, case)) as source:
            birth = find_birth(source, graph)
            walked = walk(source, graph) if birth.verdict == EXPORT else None
    except InputError as error:
        return [f"{start} {error}"]
    return [f"{start} {birth}" + (f"; {_blamed(walked)}" if walked else "")]


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
