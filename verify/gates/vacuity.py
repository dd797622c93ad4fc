"""Whether the gates of a component could fail at all.

A comparison proves something only if outputs follow from inputs, if a wrong output would be
beyond the limits, and if there are two sides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vampnet_onnx.configs.config import Gates
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.numbers.metrics import relative_l2
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Arrays, Case, Outputs, RunExport, Subject
from vampnet_onnx.verify.subjects.registry import subject_of

from .case import satisfies
from .tally import Tally

# So many float values rounded alike on both sides are no accident.
LEAST_VALUES = 1000

# Counts that no finite output moves, and a distance that forgives a shift by a sample on
# purpose: the SNR beside it does not.
_NOT_BY_SHUFFLING = frozenset({"nonfinite", "mel_distance"})

_SEEDS_TRIED = 4
_CASES_SHUFFLED = 12
_LEAST_FRAMES = 40  # so that no list of frames among the inputs is empty


@dataclass(frozen=True)
class Sensitivity:
    """How far outputs move.

    Attributes:
        value: ||second - first|| / ||first|| of the output that moves least with the seed, or
            of whatever moves most with the input that moves least; NaN where a value is not
            finite or nothing could be measured.
    """

    value: float
    message: str


def input_sensitivity(sides: Sides, like: Case, enough: float) -> Sensitivity:
    """Measure whether every output follows the seed, and some output every input by itself.

    An input counts by the output it moves most, in the setting in which it does: a filter that
    is off has no strength.

    Args:
        enough: an input that moves an output by as much is not tried in more settings.
    """
    try:
        with np.errstate(invalid="ignore"):
            found = [*_by_seed(sides, like), *_by_input(sides, like, enough)]
            # NaN is the least there is: nothing was measured.
            return min(found, key=lambda s: -np.inf if np.isnan(s.value) else s.value)
    except Exception as error:  # the cases have the message; here nothing was measured
        return Sensitivity(float("nan"), f"not measured: {error}")


def vacuous_limits(sides: Sides, cases: Sequence[Case], gates: Gates) -> list[str]:
    """Return the gates whose limit a shuffled output would hold.

    Outputs of the reference are rolled by one step of time (or taken from another case) one
    at a time and compared with themselves; or its subject says what else is wrong.
    """
    record, reference, subject = sides.record, sides.reference, subject_of(sides.record)
    every = gates.for_component(record.name, record.variant)
    rules = {name: rule for name, rule in every.items() if name not in _NOT_BY_SHUFFLING}
    refused, measured = set[str](), set[str]()
    earlier = list[Arrays]()
    by_size = sorted(cases, key=lambda case: (case.length < 2, case.batch * case.length))
    for case in by_size[:_CASES_SHUFFLED]:
        try:
            expected = reference.run(record, case)
        except FloatingPointError:
            continue  # the case itself fails, with the message
        for wrong in subject.wrong(expected.outputs) or _shuffled(expected.outputs, earlier):
            found = subject.compare(record, expected, wrong, gates.ties).metrics
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


def identical_sides(record: ComponentRecord, tally: Tally) -> bool:
    """Return whether the export seems to be compared with itself.

    Two libraries that sum in another order never round a thousand values alike.  What has no
    weights may be exact, and a generation's audio follows its tokens, so there only shared
    memory tells.
    """
    if tally.shared:
        return True
    if tally.values < LEAST_VALUES or not subject_of(record).has_rounding:
        return False
    return tally.exact


def _by_seed(sides: Sides, like: Case) -> Iterator[Sensitivity]:
    subject = subject_of(sides.record)
    like = subject.least(like)
    another = replace(like, seed=like.seed + 1)
    first, second = (
        sides.export(subject.inputs(sides.record, case)) for case in (like, another)
    )
    for name in [name for name in first if name not in subject.unmoved]:
        yield Sensitivity(_moved(first[name], second[name]), f"output {name} with the seed")


def _by_input(sides: Sides, like: Case, enough: float) -> Iterator[Sensitivity]:
    record, subject = sides.record, subject_of(sides.record)
    names = list(subject.inputs(record, like))
    if len(names) == 1:
        return  # the seed has changed it already
    left = {name: 0.0 for name in names if name not in subject.untried}
    for base in _settings(subject, like) if left else ():
        inputs = subject.inputs(record, base)
        outputs = _tried(sides.export, inputs)
        for donor in _donors(subject, base):
            others = subject.inputs(record, donor)
            for name in [n for n, moved in left.items() if moved < enough]:
                if outputs and _is_another(inputs[name], others[name]):
                    found = _tried(sides.export, {**inputs, name: others[name]})
                    moved = [_moved(outputs[output], array) for output, array in found.items()]
                    left[name] = float(np.max([left[name], *moved]))
        if all(moved >= enough for moved in left.values()):
            break
    for name, value in left.items():
        yield Sensitivity(value, f"all outputs with input {name}")


def _tried(export: RunExport, inputs: Arrays) -> Arrays:
    """Run on inputs that may not go together, such as a draw without noise to draw by."""
    try:
        return export(inputs)
    except Exception:  # ONNX Runtime's errors share no other base; it says nothing here
        return {}


def _settings(subject: Subject, like: Case) -> list[Case]:
    """Return a case of every setting, the given one first."""
    if len(subject.settings) > 1:
        like = replace(like, length=max(like.length, _LEAST_FRAMES))
    others = [setting for setting in subject.settings if setting != like.setting]
    return [like, *(replace(like, setting=setting) for setting in others)]


def _donors(subject: Subject, base: Case) -> Iterator[Case]:
    """Yield cases that an input's other value may come from: other seeds, other settings."""
    for offset in range(1, _SEEDS_TRIED + 1):
        yield replace(base, seed=base.seed + offset)
    for setting in subject.settings:
        if setting != base.setting:
            yield replace(base, seed=base.seed + 1, setting=setting)


def _is_another(value: np.ndarray, other: np.ndarray) -> bool:
    return value.shape == other.shape and not np.array_equal(value, other)


def _moved(first: np.ndarray, second: np.ndarray) -> float:
    return relative_l2(first, second) if first.shape == second.shape else float("inf")


def _shuffled(outputs: Outputs, earlier: Sequence[Arrays]) -> Iterator[Arrays]:
    """Yield the outputs with one of them wrong."""
    for name, array in outputs.items():
        rolled = (np.roll(array, 1, axis=axis) for axis in reversed(range(array.ndim)))
        others = (other[name] for other in earlier)
        for wrong in (*rolled, *others):
            if _is_another(array, wrong):
                yield {**outputs, name: wrong}
                break
