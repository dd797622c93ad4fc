"""Two artifact versions side by side: their files, what is said of them, what they compute."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import GateRule, Gates, VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.external_data import require_own_data
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.manifest import ComponentRecord, PassRecord
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.export.components.registry import require_known
from vampnet_onnx.export.onnx_file import read_component
from vampnet_onnx.pipeline.version.session import Opened, open_graph

from .gates.case import SignatureError, rank, require_same_signature, satisfies
from .localisation.changes import Change, graph_changes
from .subjects.case import Case, Computed
from .subjects.registry import subject_of

# Both sides of the traced size and past the bucket border.
MATRIX = VerifySection(seeds=[0, 1], frames=[7, 150], batches=[2], threads=0)


@dataclass(frozen=True)
class GateResult:
    """A gate's metric between the two versions, the worst case of all."""

    name: str
    value: float
    limit: float
    direction: str
    unit: str
    reason: str
    holds: bool
    worst_case: str


@dataclass(frozen=True)
class CaseResult:
    """A case that both versions ran, and how far apart they are on it."""

    id: str
    seed: int
    batch: int
    length: int
    metrics: dict[str, float]
    holds: bool


@dataclass(frozen=True)
class ComponentChange:
    """What became of one component.

    Attributes:
        same_file: whether the files are equal byte for byte as they lie there.
        signature: how inputs and outputs differ, a line a tensor.
        passes: how what export did differs, a line a pass that changed something.
        graph: in what the files differ: nodes, attributes, wiring, weights, opset.  Neither
            passes nor graphs are compared where an adapter is switched on.
        opsets: of the default domain, old and new.
        cases: seeded ones; empty where the versions cannot be compared, as are their gates.
    """

    name: str
    bytes_old: int
    bytes_new: int
    opsets: tuple[int, int]
    same_file: bool
    signature: list[str]
    dims: list[str]
    passes: list[str]
    graph: list[Change]
    gates: list[GateResult]
    cases: list[CaseResult]
    message: str = ""

    @property
    def holds(self) -> bool:
        """Whether the versions take, give and compute the same."""
        return not (self.signature or self.dims or self.message) and all(
            gate.holds for gate in self.gates
        )


@dataclass(frozen=True)
class VersionChange:
    """What differs between two versions.

    Attributes:
        toolchain: tools whose versions differ, old and new.
        sources_differ: they were made from other checkpoint files.
    """

    toolchain: dict[str, tuple[str, str]]
    sources_differ: bool
    only_old: list[str]
    only_new: list[str]
    components: list[ComponentChange]

    @property
    def holds(self) -> bool:
        """Whether the new version does all that the old one does."""
        return not self.only_old and all(change.holds for change in self.components)


def compare_versions(
    old: Artifacts,
    new: Artifacts,
    *,
    gates: Gates,
    adapter: str | None = None,
    runtime: Runtime | None = None,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> VersionChange:
    """Compare a version with another one.

    Args:
        gates: thresholds; metrics are the same as between an export and its checkpoint.
        adapter: of the new version, to be switched on in it: what it should do then is what
            a version does into which the same LoRA files were merged.
        runtime: that both run on; ONNX Runtime on the CPU if left out.
        progress: told component, cases done and cases in all.

    Raises:
        InputError: they are one and the same, or have no component in common, or no adapter
            has that name.
    """
    if old.folder.resolve() == new.folder.resolve():
        raise InputError(f"{old.folder}: compared with itself; give two versions")
    if runtime is not None:
        old, new = old.run_on(runtime), new.run_on(runtime)
    records = {record.id: record for record in old.manifest.components}
    others = {record.id: record for record in new.manifest.components}
    both = [name for name in records if name in others]
    if not both:
        raise InputError(f"{old.folder} and {new.folder} have no component in common")
    adapters = [] if adapter is None else new.adapters(adapter)
    switched = {found.component: new.folder / found.file.name for found in adapters}
    # A generator takes no adapter, so there is nothing like the old one's to compare.
    both = [
        name
        for name in both
        if records[name].name not in switched or subject_of(records[name]).adaptable
    ]
    made_from = (*new.manifest.sources, *(found.source for found in adapters))
    tools = old.manifest.toolchain, new.manifest.toolchain
    return VersionChange(
        toolchain={
            tool: (tools[0].get(tool, "none"), tools[1].get(tool, "none"))
            for tool in sorted({*tools[0], *tools[1]})
            if tools[0].get(tool) != tools[1].get(tool)
        },
        sources_differ={source.sha256 for source in old.manifest.sources}
        != {source.sha256 for source in made_from},
        only_old=[name for name in records if name not in others],
        only_new=[name for name in others if name not in records],
        components=[
            _compared(
                (records[name], old.path(records[name]), None),
                (others[name], new.path(others[name]), switched.get(records[name].name)),
                gates,
                runtime,
                partial(progress, name),
            )
            for name in both
        ],
    )


# What a version says of a component, its graph, and the adapter to switch on.
_Side = tuple[ComponentRecord, Path, Path | None]


def _compared(
    old: _Side,
    new: _Side,
    gates: Gates,
    runtime: Runtime | None,
    progress: Callable[[int, int], None],
) -> ComponentChange:
    record, other = old[0], new[0]
    signature = [
        f"{kind} {was or 'none'} is now {now or 'none'}"
        for kind, before, after in (
            ("input", record.inputs, other.inputs),
            ("output", record.outputs, other.outputs),
        )
        for was, now in itertools.zip_longest(before, after)
        if was != now
    ]
    dims = [
        f"{name} {record.dims.get(name)} is now {other.dims.get(name)}"
        for name in sorted({*record.dims, *other.dims})
        if record.dims.get(name) != other.dims.get(name)
    ]
    # What an adapter adds at run time is in the old one's weights: they differ by design.
    merged = new[2] is not None
    same = [sha256(path) for path in _files(old)] == [sha256(path) for path in _files(new)]
    found, ran, message = list[GateResult](), list[CaseResult](), ""
    if not signature and not dims:
        try:
            found, ran = _measured(old, new, gates, runtime, progress)
        except SignatureError as error:
            message = str(error)
    return ComponentChange(
        name=record.id,
        bytes_old=_bytes(old),
        bytes_new=_bytes(new),
        opsets=(record.opset, other.opset),
        same_file=same,
        signature=signature,
        dims=dims,
        passes=[] if merged else _pass_changes(record.passes, other.passes),
        graph=[]
        if same or merged
        else list(graph_changes(*(read_component(*side[:2]) for side in (old, new)))),
        gates=found,
        cases=ran,
        message=message,
    )


def _files(side: _Side) -> list[Path]:
    """Return a component's graph and its external data, if it has any."""
    record, path, _ = side
    return [path.with_name(file.name) for file in record.files]


def _bytes(side: _Side) -> int:
    return sum(path.stat().st_size for path in _files(side))


def _pass_changes(before: Sequence[PassRecord], after: Sequence[PassRecord]) -> list[str]:
    """Say how what passes did differs; those that changed nothing are as good as not run."""
    was, now = ({p.name: p.details for p in side if p.changed} for side in (before, after))
    lines = []
    for name in dict.fromkeys((*was, *now)):
        if name not in now:
            lines.append(f"pass {name} did nothing or was not run; before, it {was[name]}")
        elif name not in was:
            lines.append(f"pass {name} is new: {now[name]}")
        elif was[name] != now[name]:
            lines.append(f"pass {name}: {now[name]}; before, {was[name]}")
    return lines


def _measured(
    old: _Side,
    new: _Side,
    gates: Gates,
    runtime: Runtime | None,
    progress: Callable[[int, int], None],
) -> tuple[list[GateResult], list[CaseResult]]:
    """Run both on seeded cases; return the gates over all, and every case.

    Raises:
        SignatureError: outputs are not of one type and shape, or the new one has none.
    """
    record, sessions = old[0], [_opened(side, runtime) for side in (old, new)]
    rules = gates.for_component(record.name, record.variant)
    worst: dict[str, tuple[float, Case]] = {}
    ran = list[CaseResult]()
    subject = subject_of(record)
    cases = subject.cases(record, MATRIX)
    for done, case in enumerate(cases):
        progress(done, len(cases))
        inputs = subject.inputs(record, case)
        before = sessions[0].run(inputs)
        try:
            after = sessions[1].run(inputs)
        except InputError as error:  # what the old one does and the new one does not
            raise SignatureError(str(error)) from error
        require_same_signature(before, after)
        expected = Computed(before, subject.margins(before, ()))
        metrics = subject.compare(record, expected, after, gates.ties).metrics
        judged = rules.keys() & metrics.keys()
        holds = all(satisfies(metrics[n], rules[n], rules[n].limit) for n in judged)
        ran.append(
            CaseResult(case.id, case.seed, case.batch, case.length, dict(metrics), holds)
        )
        for name in judged:
            known = worst.get(name)
            if known is None or rank(name, metrics[name]) > rank(name, known[0]):
                worst[name] = (metrics[name], case)
    progress(len(cases), len(cases))
    return [_judged(name, rules[name], *worst[name]) for name in rules if name in worst], ran


def _opened(side: _Side, runtime: Runtime | None) -> Opened:
    record, path, adapter = side
    require_known(record, path.parent)
    require_own_data(record, path)
    session = open_graph(path, record, runtime)
    record.require_facts(session.metadata, path)
    session.use_adapter(adapter)
    return session


def _judged(name: str, rule: GateRule, value: float, case: Case) -> GateResult:
    holds = satisfies(value, rule, rule.limit)
    return GateResult(
        name,
        value,
        rule.limit,
        rule.direction,
        rule.unit,
        rule.reason,
        holds,
        case.id if value else "",
    )
