"""Whether the gates of a component could fail at all.

A comparison proves something only if outputs follow from inputs, if a wrong output would be
beyond the limits, and if there are two sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vampnet_onnx.configs.config import Gates
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.numbers.metrics import relative_l2
from vampnet_onnx.verify.sides.models import Oracle
from vampnet_onnx.verify.subjects import drawn_cases
from vampnet_onnx.verify.subjects.compare import compare
from vampnet_onnx.verify.subjects.drawn_cases import DRAWN
from vampnet_onnx.verify.subjects.generation.cases import GENERATION
from vampnet_onnx.verify.subjects.registry import Case, make_inputs

from .case import Outcome, RunExport, satisfies

# Inputs of which a graph uses the shape alone, so no value of theirs could change an output.
SHAPE_ONLY = {("mask_generator", "codes")}

# So many float values rounded alike on both sides are no accident.
LEAST_VALUES = 1000

# Counts that no finite output moves, and a distance that forgives a shift by a sample on
# purpose: the SNR beside it does not.
_NOT_BY_SHUFFLING = frozenset({"nonfinite", "mel_distance"})

_SEEDS_TRIED = 4
_CASES_SHUFFLED = 12
_LEAST_FRAMES = 40  # so that no list of frames among the inputs is empty

_Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sensitivity:
    """How far outputs move.

    Attributes:
        value: ||second - first|| / ||first|| of the output that moves least with the seed, or
            of whatever moves most with the input that moves least; NaN where a value is not
            finite or nothing could be measured.
        message: which output or input that is.
    """

    value: float
    message: str


def input_sensitivity(
    record: ComponentRecord, like: Case, export: RunExport, enough: float
) -> Sensitivity:
    """Measure whether every output follows the seed, and some output every input by itself.

    An input counts by the output it moves most, in the setting in which it does: a filter that
    is off has no strength.

    Args:
        record: from the manifest.
        like: a case whose shape to use.
        export: runs the artifact.
        enough: an input that moves an output by as much is not tried in more settings.
    """
    try:
        with np.errstate(invalid="ignore"):
            return _least(
                _by_seed(record, like, export), _by_input(record, like, export, enough)
            )
    except Exception as error:  # the cases have the message; here nothing was measured
        return Sensitivity(float("nan"), f"not measured: {error}")


def vacuous_limits(
    record: ComponentRecord, cases: Sequence[Case], reference: Oracle, gates: Gates
) -> list[str]:
    """Return the gates whose limit a shuffled output would hold.

    Outputs of the reference are rolled by one step of time (or taken from another case) one
    at a time and compared with themselves.

    Args:
        record: from the manifest.
        cases: that the reference can compute.
        reference: the oracle.
        gates: thresholds.
    """
    every = gates.for_component(record.name)
    rules = {name: rule for name, rule in every.items() if name not in _NOT_BY_SHUFFLING}
    refused, measured = set[str](), set[str]()
    earlier = list[_Arrays]()
    by_size = sorted(cases, key=lambda case: (case.length < 2, case.batch * case.length))
    for case in by_size[:_CASES_SHUFFLED]:
        try:
            expected = reference.run(record, reference.inputs(case, record))
        except FloatingPointError:
            continue  # the case itself fails, with the message
        for wrong in _shuffled(expected.outputs, earlier):
            found = compare(record, expected, wrong, gates.ties).metrics
            measured |= rules.keys() & found.keys()
            refused |= {
                n
                for n in measured & found.keys()
                if not satisfies(found[n], rules[n], rules[n].limit)
            }
        if measured and measured <= refused:
            break
        earlier.append(expected.outputs)
    return sorted(measured - refused) if measured else sorted(rules)


def identical_sides(record: ComponentRecord, outcomes: Sequence[Outcome]) -> bool:
    """Return whether the export seems to be compared with itself.

    Two libraries that sum in another order never round a thousand values alike.  What is drawn
    may be exact, and a generation's audio follows its tokens, so there only shared memory
    tells.
    """
    compared = [o for o in outcomes if o.comparison is not None]
    if any(outcome.shared for outcome in compared):
        return True
    if record.name in (*DRAWN, GENERATION) or sum(o.values for o in compared) < LEAST_VALUES:
        return False
    return all(o.comparison.metrics["max_abs"] == 0 for o in compared if o.comparison)


def _by_seed(record: ComponentRecord, like: Case, export: RunExport) -> Iterator[Sensitivity]:
    another = replace(like, seed=like.seed + 1)
    first, second = (export(make_inputs(case, record)) for case in (like, another))
    for name, array in first.items():
        yield Sensitivity(_moved(array, second[name]), f"output {name} with the seed")


def _by_input(
    record: ComponentRecord, like: Case, export: RunExport, enough: float
) -> Iterator[Sensitivity]:
    names = list(make_inputs(like, record))
    if len(names) == 1 or record.name == GENERATION:
        return  # the seed has changed it already
    left = {n: 0.0 for n in names if (record.name, n) not in SHAPE_ONLY}
    for base in _settings(record, like):
        inputs = make_inputs(base, record)
        outputs = _tried(export, inputs)
        for donor in _donors(record, base):
            others = make_inputs(donor, record)
            for name in [n for n, moved in left.items() if moved < enough]:
                if outputs and _is_another(inputs[name], others[name]):
                    found = _tried(export, {**inputs, name: others[name]})
                    moved = [_moved(outputs[output], array) for output, array in found.items()]
                    left[name] = float(np.max([left[name], *moved]))
        if all(moved >= enough for moved in left.values()):
            break
    for name, value in left.items():
        yield Sensitivity(value, f"all outputs with input {name}")


def _tried(export: RunExport, inputs: _Arrays) -> _Arrays:
    """Run on inputs that may not go together, such as a draw without noise to draw by."""
    try:
        return export(inputs)
    except Exception:  # ONNX Runtime's errors share no other base; it says nothing here
        return {}


def _settings(record: ComponentRecord, like: Case) -> list[Case]:
    """Return a case of every setting, the given one first."""
    if record.name in ("mask_generator", "sampler"):
        like = replace(like, length=max(like.length, _LEAST_FRAMES))
    others = [s for s in drawn_cases.settings(record) if s != like.setting]
    return [like, *(replace(like, setting=s) for s in others)]


def _donors(record: ComponentRecord, base: Case) -> Iterator[Case]:
    """Yield cases that an input's other value may come from: other seeds, other settings."""
    for offset in range(1, _SEEDS_TRIED + 1):
        yield replace(base, seed=base.seed + offset)
    for setting in drawn_cases.settings(record):
        if setting != base.setting:
            yield replace(base, seed=base.seed + 1, setting=setting)


def _is_another(value: np.ndarray, other: np.ndarray) -> bool:
    return value.shape == other.shape and not np.array_equal(value, other)


def _moved(first: np.ndarray, second: np.ndarray) -> float:
    return relative_l2(first, second) if first.shape == second.shape else float("inf")


def _least(*found: Iterator[Sensitivity]) -> Sensitivity:
    every = [item for part in found for item in part]
    # NaN is the least there is: nothing was measured.
    return min(every, key=lambda item: -np.inf if np.isnan(item.value) else item.value)


def _shuffled(
    outputs: Mapping[str, np.ndarray], earlier: Sequence[_Arrays]
) -> Iterator[_Arrays]:
    """Yield the outputs with one of them wrong."""
    for name, array in outputs.items():
        rolled = (np.roll(array, 1, axis=axis) for axis in reversed(range(array.ndim)))
        others = (other[name] for other in earlier)
        for wrong in (*rolled, *others):
            if _is_another(array, wrong):
                yield {**outputs, name: wrong}
                break
