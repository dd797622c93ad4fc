"""Forms of a transformer side by side: how far from the reference, how fast, how many bytes.

Distance is what the gates measured.  Speed is measured here, in the same run: every form and
float32 take turns on one input, so that whatever else the machine does falls on all of them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.machine import cores
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import FLOAT32, entry_and_form
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.reports import Component, FormPoint, Forms

from .bench.components import timings_of
from .bench.rounds import Budget, Contestant, Seconds, in_turns
from .bench.spread import ratio
from .sides.export import open_export
from .subjects.case import Arrays, RunExport
from .subjects.registry import subject_of

FRAMES = 173
"""Of the input, 3 s of the released codec."""
BUDGET = Budget(seconds=3.0, least=5, most=15)


def forms_of(
    artifacts: Artifacts,
    components: Sequence[Component],
    runtime: Runtime,
    *,
    progress: Callable[[str, int, int], None],
) -> list[Forms]:
    """Compare the forms of every network that was verified in float32 and in others.

    Args:
        components: that were verified, to the end.
        runtime: runs them.
        progress: told what is timed, rounds done and rounds in all.
    """
    judged = {component.id: component for component in components}
    networks: dict[str, dict[str, ComponentRecord]] = {}
    for record in artifacts.manifest.components:
        entry, form = entry_and_form(record.variant)
        name = record.model_copy(update={"variant": entry}).id
        if record.id in judged:
            networks.setdefault(name, {})[form or FLOAT32] = record
    return [
        _of_one(artifacts, name, records, judged, runtime, progress)
        for name, records in networks.items()
        if FLOAT32 in records and len(records) > 1
    ]


def _of_one(
    artifacts: Artifacts,
    name: str,
    records: Mapping[str, ComponentRecord],
    judged: Mapping[str, Component],
    runtime: Runtime,
    progress: Callable[[str, int, int], None],
) -> Forms:
    subject, first = subject_of(records[FLOAT32]), records[FLOAT32]
    inputs = subject.inputs(first, subject.one_case(first, seed=0, batch=1, frames=FRAMES))
    sessions = {form: open_export(artifacts, r, runtime)[0] for form, r in records.items()}
    contestants = [
        Contestant(form, partial(_timed, run, inputs)) for form, run in sessions.items()
    ]
    told = partial(progress, f"speed of {name}")
    found = in_turns(contestants, BUDGET, progress=told)
    seconds = {form: [one["total"] for one in runs] for form, runs in found.items()}
    medians = {t.contestant: t.seconds.median for t in timings_of(seconds, first=FLOAT32)}
    points = []
    for form, record in records.items():
        metrics = judged[record.id].metrics
        faster = ratio(seconds[FLOAT32], seconds[form])
        points.append(
            FormPoint(
                form=form,
                bytes=record.size,
                kl_nats=metrics.get("kl_nats"),
                disagreement=metrics.get("disagreement"),
                seconds=medians[form],
                faster=None if form == FLOAT32 else faster.value,
                faster_low=faster.low,
                faster_high=faster.high,
            )
        )
    return Forms(
        name=name,
        frames=FRAMES,
        rounds=len(seconds[FLOAT32]),
        threads=runtime.threads or cores(),
        points=points,
    )


def _timed(run: RunExport, inputs: Arrays) -> Seconds:
    began = time.perf_counter()
    run(inputs)
    return {"total": time.perf_counter() - began}
