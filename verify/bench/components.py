"""Networks one by one, as graphs and as the steps that the pipeline makes of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.manifest import ComponentRecord, Manifest
from vampnet_onnx.configs.names import FORMS, entry_and_form, variant_of
from vampnet_onnx.reports.timings import Row, Timing
from vampnet_onnx.verify.subjects.registry import subject_of

from .contestants import SGEMM, Side, Worker, open_worker, require_equal
from .rounds import Budget, Contestant, Seconds, in_turns
from .spread import ratio, spread
from .work import flops
from .worker import SGEMM_PRODUCTS, SGEMM_SIDE

LENGTHS = (1.0, 3.5, 10.0)
"""Seconds of audio."""
BATCHES = (4, 16)
"""Beside one; of the shortest length, on all cores."""
BUDGET = Budget(seconds=1.0, least=5, most=15)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Thing:
    """What is timed: a component as a file, or a step of the pipeline.

    Attributes:
        kind: what the workers call it, ``graph`` or the step.
        record: of the component at work.
        files: components by form, empty for float32; a step has its component's.
    """

    name: str
    kind: str
    record: ComponentRecord
    files: Mapping[str, str]

    def file_of(self, side: Side, first: Side) -> str | None:
        """Return the component that a side runs; None if there is none of its form.

        What has no forms is run once, by the first side, beside those that have none.
        """
        alone = side.form == first.form and not any(self.files)
        return self.files.get("" if alone else side.form)


@dataclass(frozen=True)
class Point:
    """How it is timed."""

    audio_s: float
    batch: int
    cores: int


def things(manifest: Manifest, only: Sequence[str], forms: Sequence[str] = ()) -> list[Thing]:
    """Return what there is to time of a version: every network, and the codec's steps.

    Args:
        only: names of them; empty for all.
        forms: that contend at the same thing; without any, every file is a thing.
    """
    networks = [r for r in manifest.components if subject_of(r).has_rounding]
    found = list[Thing]()
    for record in networks:
        entry, form = entry_and_form(record.variant) if forms else (record.variant, "")
        if not form:
            files = {"": record.id} | {
                other: name
                for other in FORMS
                if forms and manifest.component(name := _id(record, variant_of(entry, other)))
            }
            found.append(Thing(record.id, "graph", record, files))
    for step, name in (("encode", "codec_encoder"), ("decode", "codec_decoder")):
        part = manifest.component(name)
        if part is not None:
            found.append(Thing(step, step, part, {"": name}))
    return [thing for thing in found if not only or thing.name in only]


def _id(record: ComponentRecord, variant: str) -> str:
    return record.model_copy(update={"variant": variant}).id


def points(cores: Sequence[int]) -> list[Point]:
    """Return every length on every number of cores, and the batches on the most of them."""
    single = [Point(length, 1, count) for count in cores for length in LENGTHS]
    return single + [Point(LENGTHS[0], batch, max(cores)) for batch in BATCHES]


def frames_of(audio_s: float, manifest: Manifest) -> int:
    """Return the frames of so many seconds, by the codec of the version.

    Of transformers alone, which do not tell, it is a frame for every 50th of a second.
    """
    for record in manifest.components:
        if "decoder_rates" in record.dims:
            return math.ceil(audio_s * record.dim("sample_rate") / record.hop_length)
    return math.ceil(audio_s * 50)


def work_of(thing: Thing, frames: int, batch: int) -> int:
    """Return the floating-point operations of a thing."""
    return flops(thing.record, [a.shape for a in _arrays(thing, frames, batch).values()])


def timed(
    manifest: Manifest,
    sides: Sequence[Side],
    files: Mapping[str, Mapping[str, str | None]],
    folder: Path,
    chosen: Sequence[Thing],
    cores: int,
    at: Sequence[Point],
    *,
    budget: Budget,
    progress: Progress,
) -> Iterator[Row]:
    """Time things on so many cores, at points of that many; a row each.

    Args:
        files: what each side loads from, as its worker takes it.
        folder: for what goes between the processes.
    """
    with contextlib.ExitStack() as stack:
        *workers, machine = (
            stack.enter_context(open_worker(side, folder, cores=cores))
            for side in (*sides, Side(SGEMM, "torch"))
        )
        require_equal({worker.side.name: worker.given for worker in (*workers, machine)})
        machine.ask("load", kind=SGEMM, runtime="torch")
        for thing in chosen:
            at_work = [w for w in workers if thing.file_of(w.side, sides[0])]
            for worker in at_work:
                runtime, own = worker.side.runtime, files[worker.side.name]
                file = thing.file_of(worker.side, sides[0])
                named = {"component": file} if thing.kind == "graph" else {}
                progress(f"{thing.name}: {worker.side.name} loads", 0, 1)
                worker.ask("load", kind=thing.kind, runtime=runtime, **named, **own)
            for point in at:
                yield _row(manifest, thing, point, at_work, machine, folder, budget, progress)


def _row(
    manifest: Manifest,
    thing: Thing,
    point: Point,
    workers: Sequence[Worker],
    machine: Worker,
    folder: Path,
    budget: Budget,
    progress: Progress,
) -> Row:
    frames = frames_of(point.audio_s, manifest)
    arrays = _arrays(thing, frames, point.batch)
    inputs = folder / f"{thing.name}-{frames}-{point.batch}.npz"
    np.savez(inputs, **arrays)
    peaks: dict[str, int | None] = {}

    def run(worker: Worker) -> Seconds:
        answer = worker.ask("time", inputs=str(inputs))
        peaks[worker.side.name] = answer["memory"]
        return dict(answer["seconds"])

    contestants = [Contestant(w.side.name, partial(run, w)) for w in workers]
    contestants.append(Contestant(SGEMM, lambda: dict(machine.ask("time")["seconds"])))
    many = f" x {point.batch}" if point.batch > 1 else ""
    on = "1 core" if point.cores == 1 else f"{point.cores} cores"
    title = f"{thing.name} {point.audio_s:g} s{many}, {on}"
    found = in_turns(contestants, budget, progress=partial(progress, title))
    inputs.unlink()
    seconds = {name: [one["total"] for one in runs] for name, runs in found.items()}
    rate = 2 * SGEMM_SIDE**3 * SGEMM_PRODUCTS / spread(seconds.pop(SGEMM)).median
    work = flops(thing.record, [array.shape for array in arrays.values()])
    return Row(
        part="components",
        what=thing.name,
        cores=point.cores,
        batch=point.batch,
        audio_s=point.audio_s,
        frames=frames,
        flops=work,
        sgemm_flops=rate,
        timings=[
            timing.model_copy(
                update={
                    "audio_seconds_a_second": point.audio_s * point.batch / took,
                    "of_sgemm": work / took / rate,
                    # Of a batch it would be what longer audio left behind.
                    "peak_memory": peaks[timing.contestant] if point.batch == 1 else None,
                }
            )
            for timing in timings_of(seconds, first=workers[0].side.name)
            for took in [timing.seconds.median]
        ],
    )


def timings_of(seconds: Mapping[str, Sequence[float]], *, first: str) -> list[Timing]:
    """Return what contestants took; ratios are to the first of them, where it took any."""
    return [
        Timing(
            contestant=name,
            seconds=spread(taken),
            rounds=list(taken),
            ratio=ratio(taken, seconds[first])
            if name != first and min(taken) > 0 and min(seconds.get(first, [0])) > 0
            else None,
        )
        for name, taken in seconds.items()
    ]


def _arrays(thing: Thing, frames: int, batch: int) -> dict[str, Any]:
    """Return the inputs of a thing; no mask tokens, which would make no difference."""
    subject = subject_of(thing.record)
    case = subject.one_case(thing.record, seed=0, batch=batch, frames=frames)
    return subject.inputs(thing.record, case)
