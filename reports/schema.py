"""The report: what a verification found, as data.  Every rendering is made from this alone.

``reports/report.schema.json`` is its JSON Schema; a test keeps the two in step.  Non-finite
numbers are written as the strings "NaN", "Infinity" and "-Infinity": JSON has no others, and
a report that hides them would defeat its purpose.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, WithJsonSchema, model_validator

from vampnet_onnx.configs.config import first_problem
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import Record, SourceRecord

SCHEMA_VERSION = 3
"""2 added when and where a run was, times of cases, and the error over depth; 3 the headroom
over runs.  A report of an earlier schema is one that does not tell them."""

Number = Annotated[
    float,
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
    ),
]


class Verdict(StrEnum):
    """Outcome of a gate.

    AMBIGUOUS: the only differences lie where the reference's own margin is below the stated
    tolerance, and there are no more of them than the cap allows.  It does not fail a run.
    INTERRUPTED: of a component or a run; nothing failed until it was interrupted.
    """

    PASS = "PASS"
    AMBIGUOUS = "AMBIGUOUS"
    INTERRUPTED = "INTERRUPTED"
    FAIL = "FAIL"


class Gate(Record):
    """One threshold and what was measured against it, the worst case of all."""

    name: str = Field(description="metric the gate limits, such as logits_relative_l2")
    verdict: Verdict
    value: Number | None = Field(description="worst measured value; null if never measured")
    limit: Number
    direction: str = Field(description="'at most' or 'at least'", pattern="^at (most|least)$")
    unit: str = Field(description="unit of value and limit, empty for a ratio")
    reason: str = Field(description="why the limit is what it is")
    worst_case: str = Field(description="id of the case the value comes from, may be empty")
    message: str = Field(default="", description="what went wrong and where, for a person")
    unjudged: bool = Field(
        default=False, description="it holds, but the message tells what could not be judged"
    )


class Case(Record):
    """One seeded input and how the two sides compare on it."""

    id: str
    seed: int
    batch: int
    length: int = Field(description="frames, or samples for components that take audio")
    verdict: Verdict
    metrics: dict[str, Number]
    ambiguous: int = Field(default=0, description="tokens excused as ties of the reference")
    nonfinite_reference: int = 0
    nonfinite_export: int = 0
    message: str = ""
    seconds: float = Field(
        default=0.0, description="that the run took for it; cases that run at once share them"
    )


class BadSeed(Record):
    """A seed with which a component failed."""

    seed: int
    failed: int = Field(description="cases of this seed that failed")
    cases: int = Field(description="cases of this seed that ran")
    nonfinite_reference: int = Field(description="non-finite values of the reference, in all")
    nonfinite_export: int = Field(description="non-finite values of the export, in all")
    worst_case: str = Field(default="", description="id of the worst case with this seed")
    replay: str = Field(default="", description="command that runs that case again")


class DepthPoint(Record):
    """How far off one module is."""

    module: str
    error: Number = Field(description="relative L2 of its output when the whole export runs")
    own: Number = Field(
        description="the same on the reference's own inputs; NaN where it was not tried"
    )


class Cause(Record):
    """Why a component failed: the module that introduces the error, and what happened."""

    component: str = Field(description="component with variant")
    case: str = Field(default="", description="id of the case walked; may be empty")
    module: str = Field(
        default="", description="path of the culprit; empty outside of any module, or for none"
    )
    node: str = Field(default="", description="node that differs, or the module's first one")
    operator: str = ""
    error: Number | None = Field(
        default=None, description="relative L2 of the module on the reference's own inputs"
    )
    what: str = Field(default="", description="what happened, in words")
    others: list[str] = Field(default_factory=list, description="further modules")
    consequence_of: str = Field(
        default="", description="component that failed by itself and explains this"
    )
    seconds: float = Field(default=0.0, description="that the search took")
    stopped: bool = Field(default=False, description="the time was over before the end")
    depth: list[DepthPoint] = Field(
        default_factory=list,
        description="modules in the order in which they run; empty where none was walked",
    )
    command: str = Field(default="", description="command that goes on, or looks again")


class HeatMap(Record):
    """Largest absolute error by time and codebook (or by time alone) of one case."""

    case: str
    quantity: str
    rows: list[str] = Field(description="one label a row, such as 'codebook 0'")
    columns_per_cell: int = Field(ge=1, description="frames or samples pooled in one cell")
    column_unit: str = Field(
        default="frames", description="what columns count: frames or samples"
    )
    values: list[list[Number]] = Field(description="rows x cells")

    @model_validator(mode="after")
    def _rows_have_labels(self) -> Self:
        if len(self.rows) != len(self.values):
            raise ValueError(f"{len(self.rows)} labels for {len(self.values)} rows")
        return self


class Scatter(Record):
    """Paired values, reference against export, a seeded sample of one case."""

    case: str
    quantity: str
    reference: list[Number]
    export: list[Number]

    @model_validator(mode="after")
    def _values_are_pairs(self) -> Self:
        if len(self.reference) != len(self.export):
            raise ValueError(f"{len(self.reference)} values against {len(self.export)}")
        return self


class Component(Record):
    """Everything found about one exported file."""

    name: str
    variant: str = ""
    runtime: str = Field(
        default="", description="of a matrix of runtimes, that it ran on; empty otherwise"
    )
    file: str
    sha256: str
    verdict: Verdict
    interrupted: bool = Field(
        default=False, description="not all cases ran, and gates over all have no verdict"
    )
    gates: list[Gate]
    ran: int = Field(default=0, description="cases that ran; 0 where all of them are listed")
    failed: int = Field(default=0, description="of these, that failed")
    ambiguous: int = Field(default=0, description="tokens excused as ties in all of them")
    cases: list[Case] = Field(
        description="cases that ran; of very many the worst, and the first that failed"
    )
    worst_case: str = Field(
        default="", description="id of the case that broke most limits, or came nearest to one"
    )
    failed_seeds: int = Field(default=0, description="seeds with a case that failed")
    bad_seeds: list[BadSeed] = Field(
        default_factory=list,
        description="seeds with a case that failed, in their order; of very many the first",
    )
    causes: list[Cause] = Field(
        default_factory=list, description="why it failed; empty if nothing did"
    )
    metrics: dict[str, Number] = Field(description="worst value of each metric over all cases")
    accuracy_per_codebook: list[Number] = Field(default_factory=list)
    heat_map: HeatMap | None = None
    scatter: Scatter | None = None
    told: list[str] = Field(
        default_factory=list, description="what was measured, in sentences"
    )
    seconds: float = Field(default=0.0, description="that its verification took")

    @property
    def file_id(self) -> str:
        """Name with variant, such as ``coarse.latents``."""
        return f"{self.name}.{self.variant}" if self.variant else self.name

    @property
    def id(self) -> str:
        """The same, and in a matrix of runtimes which one: ``coarse.latents on oldest``."""
        return f"{self.file_id} on {self.runtime}" if self.runtime else self.file_id

    @property
    def cases_ran(self) -> int:
        """How many cases ran, listed or not."""
        return max(self.ran, len(self.cases))

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row a listed case: what it was, its verdict and every metric."""
        return [
            {
                "component": self.id,
                **case.model_dump(exclude={"metrics"}),
                "verdict": case.verdict.value,
                **case.metrics,
            }
            for case in self.cases
        ]


class FormPoint(Record):
    """One form of a network: how far from the reference, how fast, how large."""

    form: str = Field(description="fp32, or such as int8")
    bytes: int = Field(ge=1)
    kl_nats: Number | None = Field(
        description="mean KL divergence from the reference, of the worst case"
    )
    disagreement: Number | None = Field(
        description="share of other best entries outside near-ties, of the worst case"
    )
    seconds: Number = Field(description="median of the rounds")
    faster: Number | None = Field(
        description="times as fast as fp32; null of that, and where no difference was told"
    )
    faster_low: Number = Field(description="end of the interval that holds the median")
    faster_high: Number


class Forms(Record):
    """A network in all its forms, timed in turns in this run on one input, a batch of one."""

    name: str = Field(description="component without its form, such as coarse")
    frames: int
    rounds: int
    threads: int
    points: list[FormPoint] = Field(min_length=1, description="fp32 first, then others")


class RuntimeColumn(Record):
    """A runtime of the matrix."""

    name: str
    what: str = Field(description="it is, with its version; empty where it was skipped")
    skipped: str = Field(description="what is missing and what installs it; empty if it ran")


class UnsupportedCell(Record):
    """A component that is declared not to run on a runtime, and does not."""

    component: str = Field(description="component with variant")
    runtime: str
    reason: str
    said: str = Field(description="what the runtime said")


class Runtimes(Record):
    """The matrix of runtimes; what ran in its cells are the report's components."""

    columns: list[RuntimeColumn]
    rows: list[str] = Field(description="components with variant, and whole generations")
    unsupported: list[UnsupportedCell]
    verify_first: str = Field(
        default="",
        description="the version does not count as verified, and this command verifies it;"
        " empty where it counts",
    )


class Source(SourceRecord):
    """A checkpoint file the artifacts were made from."""


class DefectTrial(Record):
    """What became of one defect planted on purpose."""

    defect: str
    description: str = Field(description="what is wrong in it, in a sentence")
    component: str = Field(description="component it was planted in")
    caught: bool = Field(description="a gate failed, or the exporter refused")
    gates: list[str] = Field(description="gates that failed, or the exporter's words")
    culprit: str = Field(description="path of the module it was planted in")
    named: str = Field(description="module that localisation named first; empty if not asked")
    right: bool = Field(description="the module named is the culprit")


class SelfTest(Record):
    """The harness tried on itself."""

    trials: list[DefectTrial]
    sound_runs: int = Field(ge=0, description="runs of sound exports")
    alarms: list[str] = Field(description="sound runs that failed; none is right")
    unfinished: int = Field(
        default=0,
        ge=0,
        description="trials and sound exports that an interrupt left out",
    )


class Run(Record):
    """When and where a run was."""

    date: str = Field(description="of its end, ISO 8601 in UTC")
    seconds: float = Field(description="that it took")
    processor: str
    cores: int = Field(description="that it could use")
    commit: str = Field(
        description="checked out in the Git repository around the checkpoint; empty without"
    )
    previous: str = Field(description="verified version before this one; empty for the first")
    runtime: str = Field(default="", description="that ran the export; empty: not told")


class TrendRun(Record):
    """A verification among others of the same model."""

    date: str
    run: str
    version: str = Field(description="such as v1; empty where it was rejected")
    commit: str
    verdict: Verdict
    differs: list[str] = Field(description="what was other than in the run before, in words")


class TrendLine(Record):
    """How near a component came to its limits, run by run."""

    component: str
    gates: list[str] = Field(description="its tightest gate in each run; empty where none")
    headroom: list[Number | None] = Field(
        description="of that gate: 1 at the limit, less beyond it; null of what is no number"
    )


class Fall(Record):
    """A gate that held by much less than in the run before, or no more."""

    run: int = Field(ge=0, description="in which it fell, its place among the runs")
    component: str
    gate: str
    before: Number | None = Field(description="headroom in the run before")
    after: Number | None
    verdict: Verdict
    stands: bool = Field(description="it has recovered in no run since")


class Trend(Record):
    """The headroom of a model over its runs, oldest first; see ``history.jsonl``."""

    runs: list[TrendRun]
    older: int = Field(default=0, description="runs before these, which are not drawn")
    lines: list[TrendLine]
    falls: list[Fall] = Field(description="those that stand first, each kind in their order")
    more_falls: int = Field(default=0, description="falls besides these")
    least: float = Field(description="times to spare below which a gate fell that had them")
    factor: float = Field(description="times nearer to its limit that is a fall, too")


class Report(Record):
    """A whole verification run, or a comparison of two versions."""

    schema_version: int = SCHEMA_VERSION
    model: str
    version: str = Field(
        description="artifact version, such as v1; empty where the files are none"
    )
    verdict: Verdict
    verdict_line: str = Field(description="one sentence a person can quote")
    random_weights: bool
    notes: list[str] = Field(default_factory=list)
    reference: str = Field(description="what the export was compared with")
    seeds: list[int | str] = Field(
        description="of the cases; of many as ranges, such as 0:2000, the end left out"
    )
    opset: int
    toolchain: dict[str, str]
    sources: list[Source]
    unfinished: list[str] = Field(
        default_factory=list,
        description="components that an interrupt left unverified, wholly or in part",
    )
    unfit: dict[str, str] = Field(
        default_factory=dict,
        description="what was not compared, since nothing would follow from it: why, by name",
    )
    components: list[Component]
    forms: list[Forms] = Field(
        default_factory=list,
        description="networks that were verified in several forms, in a whole run",
    )
    runtimes: Runtimes | None = Field(
        default=None, description="what was asked for with --runtimes; else null"
    )
    self_test: SelfTest | None = None
    run: Run | None = Field(default=None, description="null in reports of schema 1")
    trend: Trend | None = Field(
        default=None, description="null for the first run, and of one that is not whole"
    )

    def __repr__(self) -> str:
        return (
            f"<Report of {self.model} {self.version or '(no version)'}: {self.verdict_line}>"
        )

    __str__ = __repr__

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row a gate, with the component it is of."""
        return [
            {
                "model": self.model,
                "version": self.version,
                "component": component.id,
                **gate.model_dump(),
                "verdict": gate.verdict.value,
            }
            for component in self.components
            for gate in component.gates
        ]


def json_schema() -> str:
    """Return the JSON Schema of a report as text."""
    schema = Report.model_json_schema(mode="serialization")
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def report_json(report: Report) -> str:
    """Return a report as the text of its ``report.json``."""
    return report.model_dump_json(indent=2) + "\n"


class _Head(BaseModel):
    """What reports of all schemas say, whatever else is in them."""

    schema_version: int


def read_report(path: str | Path) -> Report:
    """Read a ``report.json`` of this schema or an earlier one.

    Raises:
        InputError: no such file, no report, or one of a later schema.
    """
    try:
        text = Path(path).read_bytes()
        version = _Head.model_validate_json(text).schema_version
        if not 1 <= version <= SCHEMA_VERSION:
            raise InputError(
                f"{path}: a report of schema {version}, and this program reads schemas 1 to"
                f" {SCHEMA_VERSION}; render it with the version of vampnet-onnx that made it"
            )
        return Report.model_validate_json(text)
    except ValidationError as error:
        raise InputError(
            f"{path}: not a report of this schema ({first_problem(error)})"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
