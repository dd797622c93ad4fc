"""A file against a fresh export of its checkpoint: tensors, connections, facts and passes.

What no case selects, no case can judge.  The same source of ours, the same tools and the same
checkpoint give the same graph bit by bit; on a processor of another kind weights that a pass
computes may differ in their last bits.  What another source or other tools made is not wrong
for it: there only weights that passes keep, values of the checkpoint itself, are held to it,
and what could not be compared is said.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import nn

from vampnet_onnx.configs.config import AuditRule
from vampnet_onnx.configs.manifest import (
    MANIFEST_NAME,
    METADATA_PREFIX,
    ComponentRecord,
    Fact,
    PassRecord,
)
from vampnet_onnx.configs.names import entry_and_form
from vampnet_onnx.export.components.component import (
    Component,
    GeneratorComponent,
    network_of,
)
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.fingerprint import Fingerprint, Made, fingerprint
from vampnet_onnx.export.graphs import Graphs
from vampnet_onnx.export.onnx_file import read_component
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.networks.layers import LoRALinear
from vampnet_onnx.reports.summary import counted
from vampnet_onnx.verify.causes.fresh import exported_afresh
from vampnet_onnx.verify.localisation.changes import (
    WEIGHT_ADDED,
    WEIGHT_CHANGED,
    WEIGHT_REMOVED,
    Change,
    graph_changes,
)

from .measured import Measured

_SAID = 3  # differences told in words before the rest is counted
_FACT_WIDTH = 60  # characters of a fact that are said; some are lists of any length


@dataclass(frozen=True)
class Origin:
    """Whether a version was made as we would make it now.

    Attributes:
        differs: what was another then, such as ``torch 2.5.0``; empty for the same source of
            ours and the same tools.
    """

    differs: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """What differs, in words."""
        return f"made with {', '.join(self.differs)}"

    @classmethod
    def of(
        cls,
        source: str,
        toolchain: dict[str, str],
        *,
        ours: str,
        tools: dict[str, str],
    ) -> "Origin":
        """Compare what a manifest says with what is installed."""
        other = [] if source == ours else ["another source of ours"]
        other += [
            f"{name} {toolchain.get(name, '(not told)')}"
            for name, version in tools.items()
            if toolchain.get(name) != version
        ]
        return cls(tuple(other))


def audit(
    models: ModelSet,
    record: ComponentRecord,
    path: Path,
    rule: AuditRule,
    *,
    origin: Origin,
    adaptable: bool = False,
    made: Made | None = None,
    graphs: Graphs | None = None,
) -> Measured:
    """Hold a component's file to what its checkpoint gives.

    Args:
        models: of the checkpoint, with no more low-rank updates than the file has in it.
        adaptable: the file has inputs for adapters.
        made: what was exported just now, of a graph made then, if it was: a file that is that
            is not exported again.
        graphs: without a cache; makes those of several components at once.

    Returns:
        How many differences there are.

    Raises:
        InputError: the file cannot be read, is of other dimensions than the record or takes
            weights from a file that the record does not list.
    """
    file = read_component(record, path)
    record.require_facts(file.metadata_props, path)
    held, told = fingerprint(file), file.metadata_props.get(f"{METADATA_PREFIX}passes")
    del file
    component = build_component(record.name, models, variant=record.variant)
    wrong = _wrong_facts(record, component, origin)
    if told is not None and told != _as_told(record.passes):
        wrong.append(f"the file tells other passes of itself than {MANIFEST_NAME}")
    if made is not None and made.graph == held:
        return _with_claims(Measured(0), wrong, record, made.passes, origin)
    network = network_of(component)
    kept = _Kept(None if network is None else network.module)
    exported = exported_afresh(component, record, adaptable=adaptable, graphs=graphs)
    if fingerprint(exported.model) == held:
        return _with_claims(Measured(0), wrong, record, exported.passes, origin)
    found = read_component(record, path)
    changes = graph_changes(exported.model, found)
    sorted_out = _SortedOut(exported.model, found, held, changes, kept, rule)
    if origin.differs:
        # What passes of today leave alone, fewer of them do, too.
        known = {item.name for item in record.passes} <= {
            item.name for item in exported.passes
        }
        form = bool(entry_and_form(record.variant)[1])
        of_graph = sorted_out.of_another(origin, known=known, form=form)
    else:
        of_graph = sorted_out.of_the_same()
    return _with_claims(of_graph, wrong, record, exported.passes, origin)


def _as_told(passes: Sequence[PassRecord]) -> str:
    """Return passes as `export_set.annotate` writes them into a file."""
    return json.dumps([item.model_dump() for item in passes], sort_keys=True)


def _with_claims(
    of_graph: Measured,
    wrong: Sequence[str],
    record: ComponentRecord,
    passes: Sequence[PassRecord],
    origin: Origin,
) -> Measured:
    """Add what is wrong of what a record claims to what was measured of the graph.

    Another source of ours may have had other passes: that is said, and no error.

    Args:
        wrong: claims that are wrong, in words.
        passes: that an export of today went through.
    """
    of_passes = _wrong_passes(record.passes, passes, names_only=bool(origin.differs))
    if of_passes and origin.differs:
        doubt = "; ".join(filter(None, [of_graph.doubt, f"{of_passes} ({origin.said})"]))
        of_graph, of_passes = replace(of_graph, doubt=doubt), ""
    wrong = [*wrong, *filter(None, [of_passes])]
    if not wrong:
        return of_graph
    message = "; ".join(filter(None, [*wrong, of_graph.message]))
    return replace(of_graph, value=of_graph.value + len(wrong), message=message)


def _wrong_passes(
    found: Sequence[PassRecord], wanted: Sequence[PassRecord], *, names_only: bool
) -> str:
    """Say in what the passes that a record names are not those of an export; maybe nothing."""
    names, expected = [p.name for p in found], [p.name for p in wanted]
    said = [
        f"names the pass {n}, which its export has not" for n in names if n not in expected
    ]
    said += [f"names no pass {n}, which its export has" for n in expected if n not in names]
    if not said and names != expected:
        said = ["names the passes of its export in another order or number"]
    if not said and not names_only:
        said = [
            f"says {_shown(value)} of the pass {mine.name}, expected {_shown(other)}"
            for mine, right in zip(found, wanted, strict=True)
            for (_, value), (_, other) in zip(mine, right, strict=True)
            if value != other
        ]
    more = f"; and {counted(len(said) - 1, 'difference')} more" if len(said) > 1 else ""
    return f"the record {said[0]}{more}" if said else ""


def _wrong_facts(record: ComponentRecord, component: Component, origin: Origin) -> list[str]:
    """Return in words which facts of a record its checkpoint does not give.

    A fact is a number of the model, whatever made the file; but another source of ours may
    have recorded others, and what needs one that is not there refuses the file.
    """
    said = _unequal("fact", record.facts, component.facts, shared=bool(origin.differs))
    own = component.defaults if isinstance(component, GeneratorComponent) else {}
    return said + _unequal("default", record.defaults, own, shared=bool(origin.differs))


def _unequal(
    kind: str, found: Mapping[str, Any], wanted: Mapping[str, Any], *, shared: bool
) -> list[str]:
    names = found.keys() & wanted.keys() if shared else found.keys() | wanted.keys()
    return [
        f"{kind} {name} is {_shown(found.get(name))}, expected {_shown(wanted.get(name))}"
        for name in sorted(names)
        if json.dumps(found.get(name)) != json.dumps(wanted.get(name))
    ]


def _shown(fact: Fact | str | float | None) -> str:
    text = "missing" if fact is None else json.dumps(fact)
    return text if len(text) <= _FACT_WIDTH else f"{text[: _FACT_WIDTH - 1]}…"


class _Kept:
    """Which weights of a graph are the checkpoint's own, perhaps laid out another way."""

    def __init__(self, module: nn.Module | None) -> None:
        parts = {} if module is None else dict(module.named_modules())
        # The tensors are shared with the models: this holds no copy of them.  A merged weight
        # was computed when the models were opened.
        self._own = {
            f"{path}.{name}".lstrip("."): parameter
            for path, part in parts.items()
            if not (isinstance(part, LoRALinear) and part.merged)
            for name, parameter in part.named_parameters(recurse=False)
        }

    def has(self, name: str, value: np.ndarray) -> bool:
        """Whether a weight has all values of the parameter of its name and no others."""
        parameter = self._own.get(name)
        if parameter is None or parameter.numel() != value.size:
            return False
        own = parameter.detach().numpy()
        return np.array_equal(np.sort(own, axis=None), np.sort(value, axis=None))


class _SortedOut:
    """Differences by what they are: wrong, a matter of rounding, or not comparable."""

    def __init__(
        self,
        fresh: ir.Model,
        found: ir.Model,
        held: Fingerprint,
        changes: Sequence[Change],
        kept: _Kept,
        rule: AuditRule,
    ) -> None:
        expected = fingerprint(fresh)
        self._structure = expected.graph != held.graph
        self._total = len(expected.weights)
        self._rule = rule
        shared = expected.weights.keys() & held.weights.keys()
        self._alone = sorted(expected.weights.keys() ^ held.weights.keys())
        self._rounded, self._kept, self._computed = list[str](), list[str](), list[str]()
        for name in sorted(n for n in shared if expected.weights[n] != held.weights[n]):
            wanted, value = (_array(model, name) for model in (fresh, found))
            if kept.has(name, wanted):
                self._kept.append(name)
            elif _within(wanted, value, rule.rounding):
                self._rounded.append(name)
            else:
                self._computed.append(name)
        self._of_weights = [c for c in changes if c.kind in _OF_WEIGHTS]
        self._others = [c for c in changes if c.kind not in _OF_WEIGHTS]

    def of_the_same(self) -> Measured:
        """Judge a file that the same source and tools made."""
        weights = [*self._kept, *self._computed, *self._alone]
        told = [*self._others, *self._said(weights)]
        unnamed = self._structure and not told
        count = len(told) or int(unnamed)
        if not count:
            return Measured(0, doubt=self._rounding_said())
        words = "the graph differs in its order, its names or its notes" if unnamed else ""
        return Measured(count, words or _listed(told), modules=_modules(told))

    def of_another(self, origin: Origin, *, known: bool, form: bool) -> Measured:
        """Judge a file of another source or other tools: by what passes keep alone.

        Of a form, what is rounded counts as well: no module is held to limits of its own
        there, and rounding a weight of the checkpoint is the same whoever does it.

        Args:
            known: all passes that made it are of today; others may keep other weights.
        """
        judged = [*self._kept, *(self._computed if form else ())]
        told = self._said(judged) if known else []
        made = origin.said
        if told:
            return Measured(len(told), f"{_listed(told)} ({made})", modules=_modules(told))
        left = [] if known else self._kept
        same = self._total - len(self._kept) - len(self._computed) - len(self._alone)
        unseen = [*self._others, *self._said([*left, *self._computed, *self._alone])]
        said = f"{made}: {same} of {self._total} tensors are what the checkpoint gives today"
        unnamed = self._structure and not self._others
        if unnamed:
            said += "; names or notes of the graph could not be compared"
        if unseen:
            count = counted(len(unseen), "difference")
            said += f"; {count} could not be judged: {_listed(unseen)}"
        return Measured(0, doubt=said, unjudged=bool(unseen) or unnamed)

    def _said(self, names: Sequence[str]) -> list[Change]:
        """Return the changes of some weights; one is made up where none tells of it."""
        found = {change.name: change for change in self._of_weights}
        plain = "differs from what the checkpoint gives"
        return [
            found.get(name) or Change(WEIGHT_CHANGED, name, name.rpartition(".")[0], plain)
            for name in names
        ]

    def _rounding_said(self) -> str:
        return (
            f"{len(self._rounded)} of {self._total} tensors differ by rounding alone, within"
            f" {self._rule.rounding:.0e}, as on a processor of another kind"
        )


_OF_WEIGHTS = (WEIGHT_ADDED, WEIGHT_CHANGED, WEIGHT_REMOVED)


def _array(model: ir.Model, name: str) -> np.ndarray:
    tensor = model.graph.initializers[name].const_value
    return np.zeros(0) if tensor is None else tensor.numpy()


def _within(expected: np.ndarray, found: np.ndarray, rounding: float) -> bool:
    """Whether each value is within a rounding, of itself or of what is usual in its array."""
    if expected.dtype != found.dtype or expected.shape != found.shape:
        return False
    if expected.dtype.kind != "f" or expected.ndim == 0:
        return False  # no pass rounds those
    wide = expected.astype(np.float64)
    usual = float(np.sqrt(np.mean(np.square(wide)))) if wide.size else 0.0
    error = np.abs(found.astype(np.float64) - wide)
    return bool((error <= rounding * np.maximum(np.abs(wide), usual)).all())


def _listed(changes: Sequence[Change]) -> str:
    said = "; ".join(f"{change.name} {change.words}" for change in changes[:_SAID])
    more = len(changes) - _SAID
    return said + (f"; and {more} differences more" if more > 0 else "")


def _modules(changes: Sequence[Change]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(change.module for change in changes))
