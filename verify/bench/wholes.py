"""Whole jobs, by phase: a process for every run, so that opening and memory are its own."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.reports.timings import Row
from vampnet_onnx.verify.subjects.random import Random, made_audio

from .components import Progress, timings_of
from .contestants import Side, Worker, open_worker, require_equal
from .rounds import Budget, Contestant, Seconds, in_turns

VAMP_S = 10.0
TOTAL = "total"
# Phases that are told together, too, where a side has any of them.
_TOGETHER = {"opening": ("open", "load")}

Start = Callable[[], contextlib.AbstractContextManager[Worker]]
Ran = Mapping[str, Mapping[str, Any]]
"""Answers of workers, by title where a run has several of them."""
Files = Mapping[str, Mapping[str, str | None]]


def bench_vamp(
    rows: list[Row],
    sides: Sequence[Side],
    files: Files,
    folder: Path,
    *,
    cores: int,
    rounds: int,
    rate: int,
    progress: Progress,
) -> None:
    """Time making a variation of ten seconds of audio, with the published options.

    Opening is in it: from files to audio.  Files are in the system's cache, since the sides
    of a round read them one after the other.

    Args:
        rows: get one a phase, as those of the other jobs here.
        files: what each side opens, as its worker takes it.
        rate: of the audio in Hz, the codec's.
    """
    inputs = folder / "vamp.npz"
    audio = made_audio(Random("bench"), 1, round(VAMP_S * rate))[0]
    np.savez(inputs, audio=audio, rate=np.array(rate))

    def run(side: Side, start: Start) -> Ran:
        with start() as worker:
            answer = worker.ask(
                "vamp", runtime=side.runtime, inputs=str(inputs), **files[side.name]
            )
            return {"": answer}

    _run("vamp", rows, sides, folder, run, cores, rounds, progress, audio_s=VAMP_S)


def bench_export(
    rows: list[Row],
    sides: Sequence[Side],
    checkpoint: Path,
    codec: Path | None,
    folder: Path,
    *,
    cores: int,
    rounds: int,
    variants: Callable[[Side], Mapping[str, Sequence[str]]],
    progress: Progress,
) -> dict[str, Path]:
    """Time exporting a folder of checkpoints, and once more in another process.

    Graphs may be kept for checkpoints of known dimensions: every round begins with an empty
    cache, and its second export finds what the first one left there.

    Args:
        variants: forms that a side exports, as the worker takes them; empty for float32 alone.

    Returns:
        The version that each side made last.
    """
    made = dict[str, Path]()

    def run(side: Side, start: Start) -> Ran:
        found = {}
        for title in ("first", "known"):
            store = folder / f"{side.name}-{title}"
            shutil.rmtree(store, ignore_errors=True)
            with start() as worker:
                found[title] = worker.ask(
                    "export",
                    checkpoint=str(checkpoint),
                    codec=_text(codec),
                    out=str(store),
                    **variants(side),
                )
        shutil.rmtree(folder / f"{side.name}-first")
        made[side.name] = Path(found["known"]["folder"])
        return found

    _run("export", rows, sides, folder, run, cores, rounds, progress)
    return made


def bench_verify(
    rows: list[Row],
    sides: Sequence[Side],
    checkpoint: Path,
    codec: Path | None,
    artifacts: Mapping[str, Path],
    folder: Path,
    *,
    cores: int,
    rounds: int,
    progress: Progress,
) -> None:
    """Time verifying a version, by side, over the cases of one seed."""

    def run(side: Side, start: Start) -> Ran:
        files = str(artifacts[side.name])
        with start() as worker:
            answer = worker.ask(
                "verify", checkpoint=str(checkpoint), codec=_text(codec), files=files
            )
            return {"": answer}

    _run("verify", rows, sides, folder, run, cores, rounds, progress)


def _run(
    job: str,
    rows: list[Row],
    sides: Sequence[Side],
    folder: Path,
    run: Callable[[Side, Start], Ran],
    cores: int,
    rounds: int,
    progress: Progress,
    audio_s: float | None = None,
) -> None:
    peaks: dict[str, list[dict[str, int]]] = {side.name: [] for side in sides}
    given = dict[str, tuple[int, int]]()
    number, began = itertools.count(), time.monotonic()

    def timed(side: Side) -> Seconds:
        done, runs = next(number), rounds * len(sides)
        left = (time.monotonic() - began) / max(done, 1) * (runs - done)
        told = f", {left / 60:.0f} minutes left" if done and left > 60 else ""
        progress(f"{job}: {side.name}{told}", done, runs)
        cache = folder / "cache"
        cache.mkdir()
        imports = list[float]()

        @contextlib.contextmanager
        def start() -> Iterator[Worker]:
            with open_worker(side, folder, cores=cores, XDG_CACHE_HOME=str(cache)) as worker:
                given[side.name] = worker.given
                require_equal(given)
                imports.append(worker.import_s)
                yield worker

        ran = run(side, start)
        shutil.rmtree(cache)
        seconds, memory = {"import": imports[0]}, {}
        for title, answer in ran.items():
            before = f"{title}: " if title else ""
            parts = with_totals(answer["seconds"])
            seconds |= {before + phase: taken for phase, taken in parts.items()}
            if answer["memory"] is not None:
                memory[before + TOTAL] = answer["memory"]
        peaks[side.name].append(memory)
        return seconds

    contestants = [Contestant(side.name, partial(timed, side)) for side in sides]
    found: dict[str, list[Seconds]] = {}
    try:
        in_turns(contestants, Budget(0, rounds, rounds), warm_up=False, found=found)
    finally:  # whole rounds of what was interrupted are worth having
        whole = min(map(len, found.values()))
        if whole:
            kept = {name: runs[:whole] for name, runs in found.items()}
            rows += rows_of(job, kept, peaks, cores=cores, audio_s=audio_s)


def rows_of(
    job: str,
    found: Mapping[str, Sequence[Seconds]],
    peaks: Mapping[str, Sequence[Mapping[str, int]]],
    *,
    cores: int,
    audio_s: float | None = None,
) -> list[Row]:
    """Return a row a phase; whoever did not have a phase in every round is not in its row.

    Args:
        found: seconds by phase, by contestant and round.
        peaks: bytes by phase, by contestant and round.
    """
    rows = []
    for phase in dict.fromkeys(p for runs in found.values() for one in runs for p in one):
        seconds = {
            name: [one[phase] for one in runs]
            for name, runs in found.items()
            if all(phase in one for one in runs)
        }
        if not seconds:
            continue
        timings = [
            timing.model_copy(
                update={
                    "peak_memory": max(
                        (one[phase] for one in peaks[timing.contestant] if phase in one),
                        default=None,
                    ),
                    "audio_seconds_a_second": audio_s / timing.seconds.median
                    if audio_s is not None and phase == TOTAL
                    else None,
                }
            )
            for timing in timings_of(seconds, first=next(iter(found)))
        ]
        rows.append(Row(part=job, what=phase, cores=cores, audio_s=audio_s, timings=timings))
    return rows


def with_totals(seconds: Seconds) -> dict[str, float]:
    """Add the total of phases one after another, and what is told together, at the end."""
    found = dict(seconds)
    for name, parts in _TOGETHER.items():
        if present := [seconds[part] for part in parts if part in seconds]:
            found[name] = sum(present)
    found[TOTAL] = seconds[TOTAL] if TOTAL in seconds else sum(seconds.values())
    return found


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
