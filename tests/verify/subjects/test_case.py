"""Cases are named by everything that decides their bytes."""

from __future__ import annotations

from tests.support.records import matrix
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.verify.subjects.case import Case


def test_a_case_is_named_by_everything_that_decides_its_bytes() -> None:
    numbers = [(0, 1, 1, 1), (1, 1, 1, 1), (0, 2, 1, 1), (0, 1, 2, 1), (0, 1, 1, 2)]
    variants = [Case(name, *values) for name in ("coarse", "c2f") for values in numbers]
    assert len({case.id for case in variants}) == len(variants)
    assert isinstance(matrix(), VerifySection)
