"""Why a component failed: the worst of its cases walked, and what happened to its file.

The walk runs on the very inputs that failed, with the adapters that were switched on, and
looks at the clock between stages.  What is found is data for reports: a `Cause`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord
from vampnet_onnx.configs.runtime import USUAL, Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Case as CaseReport
from vampnet_onnx.reports import Cause, Component, DepthPoint, Verdict
from vampnet_onnx.reports.summary import describe_cause
from vampnet_onnx.verify.localisation.changes import Change, what_happened
from vampnet_onnx.verify.localisation.culprit import MISSING, Localisation
from vampnet_onnx.verify.localisation.graph import GraphModules, OpenPart, is_below
from vampnet_onnx.verify.localisation.nonfinite import CHECKPOINT, Birth, find_birth
from vampnet_onnx.verify.localisation.source import GraphSource, Source, Trace, Visit
from vampnet_onnx.verify.localisation.walk import localise
from vampnet_onnx.verify.sides.oracle import Oracle
from vampnet_onnx.verify.sides.recorded import RecordedReference
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of

from .component_file import walkable, walked_on
from .fresh import file_changes
from .locate import recorded_source, reference_source

NOTHING = "no module goes wrong on the reference's own inputs"
_NAMED = 4  # seeds and modules named before the rest is counted


class Clock:
    """How long the search may take."""

    def __init__(self, seconds: float) -> None:
        self._started, self._allowed = time.monotonic(), seconds

    @property
    def spent(self) -> float:
        """Seconds since it was set."""
        return time.monotonic() - self._started

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self.spent >= self._allowed


@dataclass(frozen=True)
class Suspect:
    """A component, and all it takes to verify it and to look into it.

    Attributes:
        reference: the side that its cases were compared with.
        models: of the checkpoint, low-rank updates in them.
        unadapted: gives the models that the file was made from: without what an adapter adds.
        adapters: that were switched on.
        runtime: that it ran on.
        elsewhere: opens its parts where that is something else.
    """

    artifacts: Artifacts
    record: ComponentRecord
    reference: Oracle
    models: ModelSet
    unadapted: Callable[[], ModelSet]
    adapters: Sequence[AdapterRecord] = ()
    runtime: Runtime = USUAL
    elsewhere: OpenPart | None = None

    @property
    def path(self) -> Path:
        """Its file."""
        return self.artifacts.path(self.record)

    @property
    def adapter_files(self) -> list[Path]:
        """The files of its adapters."""
        return [self.artifacts.folder / adapter.file.name for adapter in self.adapters]

    def graph(self) -> GraphModules:
        """Open its file, adapters switched on."""
        graph = walkable(
            GraphModules(self.path, self.adapter_files), self.record, self.runtime
        )
        if self.elsewhere is not None:
            graph.elsewhere = self.elsewhere
        return graph

    def changes(self) -> tuple[Change, ...]:
        """Compare its file with what its checkpoint gives now."""
        return file_changes(self.unadapted(), self.record, self.path)

    @contextmanager
    def source(self, case: Case) -> Iterator[Source]:
        """Give what the reference does in a case, module by module."""
        if isinstance(self.reference, RecordedReference):
            yield recorded_source(self.reference, case, self.models, self.record)
            return
        inputs = self.reference.inputs(self.record, case)
        with reference_source(self.models, self.record, inputs) as source:
            yield source


def find_cause(
    found: Component,
    suspect: Suspect,
    given: Given,
    seconds: float,
    blamed: Sequence[str] = (),
) -> Cause:
    """Walk the worst case of a component that failed.

    Values that are not finite are sought in the smallest case that has some: where they are
    born says more than where they end.  Where every case passes, it is the file itself that
    differs from what its checkpoint gives.

    Args:
        given: what the command that goes on is made of.
        seconds: after which it stops between two stages, and says so.
    """
    clock = Clock(seconds)
    walks = subject_of(suspect.record).walks
    case = _case_to_walk(found)
    try:
        seen = _Seen()
        if case is not None and walks:
            seen = _walked(suspect, case, bool(_nonfinite(found)), clock)
        changes = () if clock.over else suspect.changes()
        cause = _told(suspect, seen, changes, blamed)
    except (EnvironmentLacksError, InputError) as error:
        cause = Cause(component=found.id, what=str(error))
    name = case.id if case else ""
    # What no case shows, no walk does: there the gates look again.
    again = ("localise" if walks else "verify", "--case", name)
    if case is None:
        again = ("verify", "--component", found.id)
    command = given.command(*again)
    return cause.model_copy(
        update={
            "case": name,
            "seconds": round(clock.spent, 1),
            "stopped": clock.over,
            "command": command,
        }
    )


def consequence_of(
    found: Component, parts: Sequence[str], verified: Sequence[Component], given: Given
) -> Cause:
    """Say why a whole failed: since a part of it did, or where the sides part.

    Args:
        parts: names of the components at work in it.
        verified: components that were, before it.
    """
    known = {part.id: part.verdict for part in verified}
    failed = [name for name in parts if known.get(name) is Verdict.FAIL]
    open_ = [name for name in parts if name not in known]
    worst = next((case for case in found.cases if case.id == found.worst_case), None)
    said, again = worst.message if worst else "", ["--case", found.worst_case]
    if open_ and not failed:
        said = _joined(said, f"its parts were not verified: {', '.join(open_)}")
        again = [word for name in open_ for word in ("--component", name)]
    return Cause(
        component=found.id,
        case=found.worst_case,
        what=said,
        consequence_of=failed[0] if failed else "",
        others=failed[1:],
        command=given.command("verify", *again),
    )


def describe_nonfinite(found: Component) -> list[str]:
    """Say how often values are not finite, and where they come from in the case walked."""
    bad = _nonfinite(found)
    if not bad or any(cause.consequence_of for cause in found.causes):
        return []
    seeds = list(dict.fromkeys(str(c.seed) for c in bad))
    some = f" that are kept of {found.ran}" if found.ran > len(found.cases) else ""
    return [
        f"{found.id} is not finite in {len(bad)} of {len(found.cases)} cases{some}, with"
        f" {len(seeds)} of {len({c.seed for c in found.cases})} seeds ({_listed(seeds)})."
        + "".join(f" {describe_cause(cause)}" for cause in found.causes)
    ]


@dataclass(frozen=True)
class _Seen:
    """What a walk of one case showed."""

    graph: GraphModules | None = None
    birth: Birth | None = None
    walked: Localisation | None = None


class _Timed(Source):
    """Another source, until the time is over."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self.inputs, self.stages = source.inputs, source.stages
        self._source, self._clock = source, clock

    def expected(self) -> frozenset[str]:
        return self._source.expected()

    def stream(self, visit: Visit) -> None:
        def look(trace: Trace) -> None:
            if self._clock.over:
                raise _TimeIsOver
            visit(trace)

        try:
            self._source.stream(look)
        except _TimeIsOver:
            return  # what was seen until then is kept


class _TimeIsOver(Exception):
    """Raised between two stages."""


def _walked(suspect: Suspect, case: Case, nonfinite: bool, clock: Clock) -> _Seen:
    graph = suspect.graph()
    with suspect.source(case) as source:
        birth = find_birth(source, graph) if nonfinite else None
        if birth is not None and birth.verdict.startswith(CHECKPOINT):
            return _Seen(graph, birth)
        # What is built is small, and compared at once.
        built = isinstance(source, GraphSource)
        return _Seen(graph, birth, localise(source if built else _Timed(source, clock), graph))


def _told(
    suspect: Suspect, seen: _Seen, changes: Sequence[Change], blamed: Sequence[str]
) -> Cause:
    cause = Cause(component=suspect.record.id)
    if seen.birth is not None and seen.walked is None:
        birth = seen.birth
        module = birth.module or birth.node_module
        told = {"module": module, "node": birth.node, "operator": birth.operator}
        return cause.model_copy(update={**told, "what": str(birth)})
    cause = cause.model_copy(update={"depth": _depth(seen.walked)})
    graph = seen.graph or suspect.graph()
    culprits = seen.walked.culprits if seen.walked else ()
    runtime = walked_on(suspect.record.id, suspect.runtime)
    if seen.walked is None or not culprits:
        return cause.model_copy(update=_of_the_file(graph, changes, blamed, seen, runtime))
    first = next((f for f in seen.walked.findings if f.path == culprits[0]), None)
    missing = first is not None and first.verdict == MISSING
    node, operator = _node_of(graph, culprits[0], changes)
    words = what_happened(changes, culprits[0])
    return cause.model_copy(
        update={
            "module": culprits[0],
            "node": node,
            "operator": operator,
            "error": None if first is None or missing else first.own_error,
            "what": _joined(
                str(seen.birth or ""),
                MISSING if missing and MISSING not in words else "",
                words,
            ),
            "others": list(culprits[1:]),
        }
    )


def _depth(walked: Localisation | None) -> list[DepthPoint]:
    findings = walked.findings if walked else ()
    return [DepthPoint(module=f.path, error=f.error, own=f.own_error) for f in findings]


def _of_the_file(
    graph: GraphModules,
    changes: Sequence[Change],
    blamed: Sequence[str],
    seen: _Seen,
    runtime: Runtime,
) -> dict[str, object]:
    """Tell how the file differs from what its checkpoint gives, where no walk tells more."""
    walked = NOTHING if seen.walked is not None else ""
    if walked and not runtime.is_usual:
        walked += f", part by part on {runtime}"
    modules = list(dict.fromkeys([*blamed, *(change.module for change in changes)]))
    if not modules:
        return {"what": _joined(walked, "the file is what its checkpoint gives")}
    node, operator = _node_of(graph, modules[0], changes)
    return {
        "module": modules[0],
        "node": node,
        "operator": operator,
        "what": _joined(walked, what_happened(changes, modules[0])),
        "others": modules[1:],
    }


def _node_of(graph: GraphModules, module: str, changes: Sequence[Change]) -> tuple[str, str]:
    """Return the node of a module that differs or takes what does; else its first one."""
    inside = [n for n in graph.nodes if n.module == module or is_below(n.module, module)]
    by_name = {node.name: node for node in reversed(inside)}
    told = [name for change in changes for name in (change.name, *change.takers)]
    chosen = next((by_name[name] for name in told if name in by_name), None)
    chosen = chosen or next(iter(inside), None)
    return (chosen.name, chosen.operator) if chosen else ("", "")


def _case_to_walk(found: Component) -> Case | None:
    """Return the worst case that failed; the smallest of those that are not finite."""
    bad = _nonfinite(found)
    if bad:
        return Case.parse(min(bad, key=lambda case: case.batch * case.length).id)
    failed = {case.id for case in found.cases if case.verdict is Verdict.FAIL}
    return Case.parse(found.worst_case) if found.worst_case in failed else None


def _nonfinite(found: Component) -> list[CaseReport]:
    return [c for c in found.cases if c.nonfinite_reference or c.nonfinite_export]


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
