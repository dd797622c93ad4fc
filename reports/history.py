"""``history.jsonl``: a line for every verification of a model, beside its versions.

A line is one JSON object, and its first two keys are the date and the id of the run: lines
sorted as text are sorted by date, and the same line twice is the same run.  So two histories
are merged by ``sort -u``, and a reader sorts by itself and counts a run once.

Gates are `[value, limit, headroom, verdict]`, the worst of all cases; headroom is a factor, 1
at the limit and less beyond it.  Numbers have six digits: a history is to be looked at.
"""

import secrets
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field, ValidationError

from vampnet_onnx.configs.config import VerifySection, first_problem
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import append_line
from vampnet_onnx.configs.manifest import Manifest, Record

from .schema import Gate, Number, Report, Verdict
from .summary import headroom_factor

HISTORY_NAME = "history.jsonl"
HISTORY_SCHEMA = 1

_DIGITS = 12  # of a digest, to tell two apart


class PastGate(NamedTuple):
    """A gate of an earlier run, the worst of all its cases.

    Attributes:
        value: None where it was never measured.
        headroom: see `summary.headroom_factor`; None of what is no number.
    """

    value: Number | None
    limit: Number
    headroom: Number | None
    verdict: Verdict


class PastComponent(Record):
    """A component in an earlier run."""

    verdict: Verdict
    seconds: float
    gates: dict[str, PastGate]


class PastMatrix(Record):
    """The cases of an earlier run; seeds as the commands take them, such as 0:3."""

    seeds: str
    frames: list[int]
    batches: list[int]


class PastRun(Record):
    """A line of a history: one verification, of whatever came of it."""

    date: str = Field(description="of its end, ISO 8601 in UTC")
    run: str = Field(
        description="of the moment and at random; the same in two lines is the same run"
    )
    schema_version: int = HISTORY_SCHEMA
    model: str
    version: str = Field(description="such as v1; empty where it was rejected")
    fingerprint: str = Field(description="SHA-256 of the version's manifest")
    commit: str = Field(description="around the checkpoint; empty where none is known")
    verdict: Verdict
    partial: list[str] = Field(description="why it was no whole run; empty if it was")
    reference: str
    runtime: str
    processor: str
    cores: int
    toolchain: dict[str, str] = Field(description="that verified")
    exported_with: dict[str, str] = Field(description="toolchain that made the files")
    exporter: str = Field(description="digest of our own source that made the files")
    sources: dict[str, str] = Field(description="first digits of each checkpoint's SHA-256")
    matrix: PastMatrix
    seconds: float
    components: dict[str, PastComponent]


class _Head(BaseModel):
    """What lines of all schemas say, whatever else is in them."""

    schema_version: int


def past_run(
    report: Report,
    manifest: Manifest,
    fingerprint: str,
    *,
    matrix: VerifySection,
    partial: Sequence[str] = (),
) -> PastRun:
    """Return the line of a verification, under an id of its own.

    Args:
        report: one that says when and where it was.
        manifest: of what was verified.
        fingerprint: SHA-256 of the manifest's file.
        partial: why it was no whole run.
    """
    if report.run is None:
        raise ValueError("a report of a run that ended says so")
    return PastRun(
        date=report.run.date,
        run=f"{time.time_ns():016x}{secrets.token_hex(4)}",
        model=report.model,
        version=report.version,
        fingerprint=fingerprint,
        commit=report.run.commit,
        verdict=report.verdict,
        partial=list(partial),
        reference=report.reference,
        runtime=report.run.runtime,
        processor=report.run.processor,
        cores=report.run.cores,
        toolchain=report.toolchain,
        exported_with=manifest.toolchain,
        exporter=manifest.source[:_DIGITS],
        sources={source.name: source.sha256[:_DIGITS] for source in manifest.sources},
        matrix=PastMatrix(
            seeds=as_ranges(matrix.seeds), frames=matrix.frames, batches=matrix.batches
        ),
        seconds=report.run.seconds,
        components={
            part.id: PastComponent(
                verdict=part.verdict,
                seconds=round(part.seconds, 1),
                gates={gate.name: _past_gate(gate) for gate in part.gates},
            )
            for part in report.components
        },
    )


def append_run(path: Path, run: PastRun) -> None:
    """Append a run to a history, whole or not at all, whatever else is in the file.

    Raises:
        InputError: it cannot be written.
    """
    append_line(path, run.model_dump_json())


def read_history(*paths: Path) -> list[PastRun]:
    """Return the runs of one history or several, oldest first, each once.

    Raises:
        InputError: a file cannot be read, or a line is none of a history.
    """
    runs, places = dict[str, PastRun](), dict[str, str]()
    for path in paths:
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # a pipe may never end
                raise InputError(f"{path}: is no regular file; name a {HISTORY_NAME}")
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            run = _parsed(line, place)
            known = runs.setdefault(run.run, run)
            if known.model_dump_json() != run.model_dump_json():  # NaN equals nothing
                raise InputError(
                    f"{place}: tells the run {run.run} otherwise than {places[run.run]};"
                    " remove the one that is wrong"
                )
            places.setdefault(run.run, place)
    return sorted(runs.values(), key=lambda run: (run.date, run.run))


def _parsed(line: bytes, place: str) -> PastRun:
    try:
        version = _Head.model_validate_json(line).schema_version
        if version == HISTORY_SCHEMA:
            return PastRun.model_validate_json(line)
    except ValidationError as error:
        raise InputError(
            f"{place}: this line is none of a history ({first_problem(error)}); remove it, the"
            " others stand by themselves"
        ) from error
    raise InputError(
        f"{place}: a line of schema {version}, and this program reads {HISTORY_SCHEMA}; use"
        " the version of vampnet-onnx that wrote it"
    )


def _past_gate(gate: Gate) -> PastGate:
    value, headroom = gate.value, headroom_factor(gate)
    return PastGate(
        None if value is None else _rounded(value),
        _rounded(gate.limit),
        None if headroom is None else _rounded(headroom),
        gate.verdict,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def as_ranges(seeds: Sequence[int]) -> str:
    """Return seeds as the commands take them: 0:3,7 are 0, 1, 2 and 7."""
    found = list[list[int]]()
    for seed in sorted(set(seeds)):
        if found and seed == found[-1][1]:
            found[-1][1] += 1
        else:
            found.append([seed, seed + 1])
    return ",".join(f"{a}" if b == a + 1 else f"{a}:{b}" for a, b in found)
