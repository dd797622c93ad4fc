"""The two sides of a verification: what is taken as right, and what is held to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.subjects.case import Arrays, Case, Computed, RunExport


class Oracle(Protocol):
    """What artifacts are compared with.

    There are three: our models (`verify.sides.models`), the published packages
    (`verify.sides.upstream`) and a recorded set (`verify.sides.recorded`).
    """

    @property
    def description(self) -> str:
        """What reports say of it."""

    @property
    def in_float64(self) -> Oracle:
        """The same in double precision, to measure its own rounding."""

    def knows(self, record: ComponentRecord) -> bool:
        """Whether it has anything to compare a component with."""

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the cases it can compute."""

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case it cannot compute.

        Raises:
            InputError: it has no such case.
        """

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Return the input arrays of a case."""

    def run(self, record: ComponentRecord, case: Case) -> Computed:
        """Compute what a component gives in a case.

        Raises:
            FloatingPointError: in a generation, where logits are not finite.
        """


@dataclass(frozen=True)
class Sides:
    """Both sides of a component.

    Attributes:
        mismatches: how the file's signature differs from the manifest's, a line a tensor.
    """

    record: ComponentRecord
    reference: Oracle
    export: RunExport
    mismatches: Sequence[str] = field(default=())
