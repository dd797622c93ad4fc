"""Oracles that keep what they computed: models can be given back, and nothing runs twice."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.subjects.case import Arrays, Case, Computed
from vampnet_onnx.verify.subjects.registry import subject_of

from .oracle import Oracle


@dataclass(frozen=True)
class Kept:
    """What a reference computed of every case of one record.

    Attributes:
        description: of the reference.
        results: done, by case; a result raises what the reference raised.
    """

    description: str
    results: Mapping[Case, Future[Computed]]

    @property
    def in_float64(self) -> Kept:
        """Nothing: who measures rounding keeps the models."""
        raise NotImplementedError("the models are gone")

    def knows(self, record: ComponentRecord) -> bool:
        """Whether it has anything of a component."""
        return any(case.component == record.id for case in self.results)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the cases it has."""
        return list(self.results)

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case it has not."""
        if case not in self.results:
            raise InputError(f"{case.id} was not computed")

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Return the seeded inputs of a case."""
        return subject_of(record).inputs(record, case)

    def run(self, record: ComponentRecord, case: Case) -> Computed:
        """Return what was computed of a case.

        Raises:
            FloatingPointError: as the reference did.
        """
        return self.results[case].result()


@dataclass
class Remembered:
    """Another oracle that computes a case once, however many ask for it."""

    oracle: Oracle
    _results: dict[Case, Computed] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """What reports say of it."""
        return self.oracle.description

    @cached_property
    def in_float64(self) -> Remembered:
        """The same in float64, which is remembered as well."""
        return Remembered(self.oracle.in_float64)

    def knows(self, record: ComponentRecord) -> bool:
        """Whether it has anything of a component."""
        return self.oracle.knows(record)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the cases it can compute."""
        return self.oracle.cases(record, matrix)

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case it cannot compute."""
        self.oracle.require(record, case)

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Return the inputs of a case, made anew: who runs on them may write into them."""
        return self.oracle.inputs(record, case)

    def run(self, record: ComponentRecord, case: Case) -> Computed:
        """Return what is computed of a case.

        Raises:
            FloatingPointError: as the oracle did.
        """
        if case not in self._results:
            self._results[case] = self.oracle.run(record, case)
        return self._results[case]
