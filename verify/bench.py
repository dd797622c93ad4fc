"""PyTorch eager against ONNX Runtime, side by side in one run.

Rounds alternate between the two, so whatever else the machine does falls on both; ONNX
Runtime's idle threads do not spin, since they would slow PyTorch's rounds down.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import (
    build_component,
    require_known,
    required_checkpoint,
)
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.pipeline.version.session import open_session

from .sides.export import require_same_sources
from .subjects.registry import subject_of

FRAMES = (50, 200, 575)  # 0.9, 3.5 and 10 seconds of the released codec
ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """One component at one length, a batch of one.

    Attributes:
        frames: of codes, or of the audio that stands for them.
        torch_ms: median of PyTorch; None without a checkpoint.
    """

    component: str
    frames: int
    onnx_ms: float
    torch_ms: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as long PyTorch takes."""
        return None if self.torch_ms is None else self.torch_ms / self.onnx_ms


def bench_networks(
    artifacts: Artifacts,
    checkpoints: Checkpoints | None,
    *,
    threads: int,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> list[Timing]:
    """Time every network of a version.

    Args:
        checkpoints: it was made from; None times ONNX Runtime alone.
        progress: told component, rounds done and rounds in all.

    Raises:
        InputError: the checkpoints are others.
    """
    if threads:
        torch.set_num_threads(threads)
    found = []
    for record in artifacts.manifest.components:
        require_known(record, artifacts.folder)
        if subject_of(record).has_rounding:  # it has weights
            found += _timed(artifacts, record, checkpoints, threads, progress)
    return found


def _timed(
    artifacts: Artifacts,
    record: ComponentRecord,
    checkpoints: Checkpoints | None,
    threads: int,
    progress: Callable[[str, int, int], None],
) -> list[Timing]:
    subject, session = subject_of(record), open_session(artifacts, record, threads=threads)
    record.require_facts(session.metadata, session.path)
    module = None
    if checkpoints is not None:
        models = checkpoints.models_for(required_checkpoint(record.name))
        require_same_sources(models, artifacts.manifest.sources, artifacts.path(record))
        built = build_component(record.name, models, variant=record.variant)
        assert isinstance(built, TracedComponent)
        module = built.module.eval()
    timings = []
    for i, frames in enumerate(FRAMES):
        case = subject.one_case(record, seed=0, batch=1, frames=frames)
        inputs = subject.inputs(record, case)
        tensors = [torch.from_numpy(array) for array in inputs.values()]
        onnx, eager = list[float](), list[float]()
        with torch.inference_mode():
            for done in range(ROUNDS + 1):  # the first one warms up
                progress(record.id, i * (ROUNDS + 1) + done, len(FRAMES) * (ROUNDS + 1))
                onnx.append(_milliseconds(partial(session.run, inputs)))
                if module is not None:
                    eager.append(_milliseconds(partial(module, *tensors)))
        median = statistics.median(eager[1:]) if eager else None
        timings.append(Timing(record.id, frames, statistics.median(onnx[1:]), median))
    progress(record.id, len(FRAMES) * (ROUNDS + 1), len(FRAMES) * (ROUNDS + 1))
    return timings


def _milliseconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)
