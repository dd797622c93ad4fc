"""Every module of a file by itself: what tolerant outputs hide.

A traced component's modules run on the reference's own inputs and are held to its own float32
rounding, measured in float64.  What is built has no modules in PyTorch: its scopes are
compared with what is built now.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from vampnet_onnx.configs.config import ModulesRule
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.component import Component, TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.causes.locate import reference_source
from vampnet_onnx.verify.localisation.culprit import OWN_ERROR_LIMIT
from vampnet_onnx.verify.localisation.graph import GraphModules, is_below
from vampnet_onnx.verify.localisation.probe import Allowance, Probed, probe
from vampnet_onnx.verify.localisation.source import GraphSource
from vampnet_onnx.verify.localisation.walk import localise
from vampnet_onnx.verify.subjects.registry import subject_of

from .measured import Measured

_SAID = 3  # modules named before the rest is counted


def modules(
    models: ModelSet,
    record: ComponentRecord,
    path: Path,
    rule: ModulesRule,
    *,
    adapters: Sequence[Path] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Measured:
    """Measure how far the worst module is beyond its own rounding.

    Args:
        models: of the checkpoint, with the low-rank updates that the file computes with.
        adapters: files that are switched on.
        seed: of the input.
        progress: told how many modules are done, and how many there are.

    Returns:
        The largest error over what is allowed: above 1 a module is wrong.
    """
    subject = subject_of(record)
    component = build_component(record.name, models, variant=record.variant)
    case = subject.one_case(
        record, seed=seed, batch=2, frames=_frames(component, subject.probe_frames)
    )
    graph = GraphModules(path, adapters)
    inputs = subject.inputs(record, case)
    if not isinstance(component, TracedComponent):
        with reference_source(models, record, inputs) as source:
            assert isinstance(source, GraphSource)
            borders, found = source.graph.borders, localise(source, graph).findings
        alike = [f for f in found if borders[f.path] == graph.borders[f.path]]
        others = [f.path for f in found if f not in alike]
        scopes = [Probed(f.path, "", f.own_error / OWN_ERROR_LIMIT) for f in alike]
        seen = _measured(scopes, nothing=0.0)
        said = f"built otherwise today, and left to the cases: {', '.join(others)}"
        return replace(seen, doubt=said) if others else seen
    allowance = Allowance(rule.factor, rule.floor, rule.scale)
    covering = subject.covering(record, models)
    module = component.module.eval()
    return _measured(probe(module, graph, inputs, allowance, covering, progress))


def _frames(component: Component, least: int) -> int:
    """Return how many frames to look at: as many as no weight is wide.

    Where an array is as long as it is wide, nothing tells which way round a file lays it.
    """
    if not isinstance(component, TracedComponent):
        return least
    widths = {width for weight in component.module.parameters() for width in weight.shape}
    return next(frames for frames in count(least) if frames not in widths)


def _measured(found: Sequence[Probed], nothing: float = math.nan) -> Measured:
    """Sum up what was found; `nothing` is the value where nothing could be compared."""
    value = max((item.error for item in found), default=nothing)
    wrong = [item for item in found if not item.error <= 1]
    deepest = [a for a in wrong if not any(is_below(b.path, a.path) for b in wrong)]
    worst_first = sorted(deepest, key=lambda i: math.inf if math.isnan(i.error) else i.error)
    said = [
        f"{item} is {item.error:.3g} times what its rounding allows"
        for item in reversed(worst_first)
    ]
    more = len(said) - _SAID
    words = "; ".join(said[:_SAID]) + (f"; and {more} modules more" if more > 0 else "")
    return Measured(value, words, modules=tuple(dict.fromkeys(i.path for i in deepest)))
