"""Recorded sets: checkpoints with what the published packages computed with them.

A set is a folder of ``codec.pth``, ``coarse.pth``, ``c2f.pth``, ``reference.npz`` with keys
``kind/.../name`` and ``reference.json`` with the parameters of the cases.  Everything before
a key's last slash is its case.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.arrays import ArrayFile
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, read_json
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.subjects.case import Array, Arrays, Case, Computed, Parts, Published
from vampnet_onnx.verify.subjects.registry import subject_of

from .models import Reference, codebook_tables

ARRAYS = "reference.npz"
PARAMETERS = "reference.json"


class RecordedSet:
    """An opened set; arrays are read when asked for."""

    def __init__(self, folder: Path) -> None:
        """Open the set in a folder.

        Raises:
            InputError: it holds none, or a damaged one.
        """
        self.folder = folder
        for name in (PARAMETERS, ARRAYS):
            if not is_there(folder / name):
                raise InputError(
                    f"{folder}: no recorded set ({name} is missing); record one with"
                    " 'vampnet-onnx golden record'"
                )
        header = read_json(folder / PARAMETERS)
        if not (isinstance(header, dict) and isinstance(header.get("cases"), dict)):
            raise InputError(f"{folder / PARAMETERS}: lists no cases; record the set again")
        self.header: dict[str, Any] = header
        self.parameters: dict[str, Any] = header["cases"]
        self._data = ArrayFile(folder / ARRAYS)
        self.keys = self._data.names

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def array(self, key: str) -> np.ndarray:
        """Return a recorded array.

        Raises:
            InputError: it is not there, or damaged.
        """
        return self._data.read(key)

    def has(self, record: ComponentRecord) -> bool:
        """Whether it holds cases of a component."""
        published = subject_of(record).published(record)
        kinds = {case.split("/")[0] for case in self.cases}
        return published is not None and published.kind in kinds

    @cached_property
    def cases(self) -> list[str]:
        """Every case that has arrays, in the recorded order."""
        return list(dict.fromkeys(key.rpartition("/")[0] for key in self.keys))


class RecordedReference:
    """A recorded set as oracle: it computes nothing, and knows the recorded cases only."""

    def __init__(
        self, recorded: RecordedSet, models: ModelSet, *, seeds: Sequence[int] = ()
    ) -> None:
        """Take the set and our models of its checkpoint.

        Of the models only the codec's tables are used, for margins, and their float64
        version where the recorded rounding has to be estimated.

        Args:
            seeds: numbers of the cases to compare; empty for all.
        """
        self._seeds = tuple(seeds)
        self._recorded = recorded
        self._models = models

    @property
    def description(self) -> str:
        """What reports say of it."""
        header = self._recorded.header
        return f"recorded set {header.get('set')!r} (torch {header.get('torch')})"

    @cached_property
    def in_float64(self) -> Reference:
        """Our models in float64 on the recorded inputs: no set records double precision."""
        return Reference(self._models, self.inputs).in_float64

    def knows(self, record: ComponentRecord) -> bool:
        """Whether sets record components of this kind."""
        return subject_of(record).published(record) is not None

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the recorded cases, those asked for; the matrix has no say.

        Raises:
            InputError: the set has not all that were asked for.
        """
        found = {case.seed: case for case in self.recorded_cases(record)}
        for seed in self._seeds:
            if seed not in found:
                raise InputError(
                    f"{self._recorded.folder}: the recorded set has no case {seed} of"
                    f" {record.id}; seeds there are {', '.join(map(str, found))}"
                )
        return [found[seed] for seed in self._seeds or found]

    def recorded_cases(self, record: ComponentRecord) -> list[Case]:
        """Return the recorded cases of a component; their seeds are their numbers.

        Raises:
            InputError: the set has none of the component.
        """
        published, found = subject_of(record).published(record), list[Case]()
        kinds = dict.fromkeys(case.split("/")[0] for case in self._recorded.cases)
        if published is None or published.kind not in kinds:
            raise InputError(
                f"{self._recorded.folder}: the recorded set has no cases of {record.id};"
                f" give --component for what it has: {', '.join(kinds)}"
            )
        for name in self._recorded.cases:
            kind, _, number = name.partition("/")
            if kind == published.kind:
                if not number.isdecimal():
                    raise InputError(f"{self._recorded.folder / ARRAYS}: {name} has no number")
                array = self._recorded.array(f"{name}/{published.input}")
                self._require_fitting(record, {published.input: array}, name)
                shape = array.shape
                case = subject_of(record).one_case(
                    record, seed=int(number), batch=shape[0], frames=1, length=shape[-1]
                )
                found.append(replace(case, codebooks=case.codebooks and shape[1]))
        return found

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case that is not recorded."""
        known = self.recorded_cases(record)
        if case not in known:
            raise InputError(
                f"{self._recorded.folder}: {case.id} is no recorded case; there are"
                f" {', '.join(item.id for item in known)}"
            )

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Return a case's recorded input."""
        published = self._published(record)
        return {published.input: self._of(record, case)(published.input)}

    def run(self, record: ComponentRecord, case: Case) -> Computed:
        """Look up what was recorded of a case."""
        recorded = self._of(record, case)
        outputs = {name: recorded(name) for name in self._published(record).outputs}
        self._require_fitting(record, outputs, case.id)
        tables = codebook_tables(self._models)
        return Computed(outputs, subject_of(record).margins(outputs, tables), tables)

    def parts(self, record: ComponentRecord, case: Case) -> Parts:
        """Return what was recorded between the modules of a component."""
        recorded, published = self._of(record, case), self._published(record)
        return published.between(
            recorded, {name: recorded(name) for name in published.outputs}
        )

    def _of(self, record: ComponentRecord, case: Case) -> Array:
        """Return what gives the recorded arrays of a case by name."""
        name = f"{self._published(record).kind}/{case.seed}"
        return lambda key: self._recorded.array(f"{name}/{key}")

    def _require_fitting(self, record: ComponentRecord, arrays: Arrays, where: str) -> None:
        """Refuse arrays that a component does not take or give."""
        sizes = dict[str, int]()  # of the free axes
        for item in (*record.inputs, *record.outputs):
            array = arrays.get(item.name)
            if array is None:
                continue
            shape = [sizes.get(a, a) if isinstance(a, str) else a for a in item.shape]
            fits = array.dtype == item.dtype and array.ndim == len(shape)
            pairs = list(zip(shape, array.shape, strict=fits))
            if not fits or any(isinstance(a, int) and a != n for a, n in pairs):
                raise InputError(
                    f"{self._recorded.folder / ARRAYS}: of {where}, {item.name} is"
                    f" {array.dtype} {list(array.shape)}; {record.id} has {item}"
                )
            sizes |= {a: n for a, n in pairs if isinstance(a, str)}

    def _published(self, record: ComponentRecord) -> Published:
        found = subject_of(record).published(record)
        assert found is not None, f"{record.id} is not recorded"
        return found
