"""Cases are named by everything that decides their bytes, and made again from their name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import FORMS, GENERATOR, TRANSFORMERS
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import SUBJECTS, records_of, subject_of


def test_a_case_is_named_by_everything_that_decides_its_bytes() -> None:
    numbers = [(0, 1, 1, 1), (1, 1, 1, 1), (0, 2, 1, 1), (0, 1, 2, 1), (0, 1, 1, 2)]
    variants = [Case(name, *values) for name in ("coarse", "c2f") for values in numbers]
    assert len({case.id for case in variants}) == len(variants)
    assert isinstance(matrix(), VerifySection)


@pytest.fixture(scope="session")
def every_record(exported_a: Path) -> list[ComponentRecord]:
    manifest = open_artifacts(exported_a).manifest
    forms = [
        part.model_copy(update={"variant": form})
        for part in manifest.components
        for form in FORMS
        if part.id in TRANSFORMERS
    ]
    generators = [
        part.model_copy(update={"variant": GENERATOR})
        for part in manifest.components
        if part.id in TRANSFORMERS
    ]
    # The golden sets have no tracker; of its record the cases need the dimensions alone.
    dims = {"channels": (8, 8)}
    tracker = manifest.components[0].model_copy(
        update={"name": "beat_tracker", "variant": "", "dims": dims}
    )
    records = records_of(
        manifest.model_copy(
            update={"components": (*manifest.components, *forms, *generators, tracker)}
        )
    )
    (heard,) = (s for s in SUBJECTS if "generation.bf16" in s.names)
    whole = heard.whole(manifest.in_bf16())  # bf16 is of no file, so no manifest lists it
    assert whole is not None
    records.append(whole)
    assert {subject_of(record) for record in records} == set(SUBJECTS)
    return records


@settings(max_examples=25, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True),
    frames=st.lists(st.integers(1, 2**20), min_size=1, max_size=4, unique=True),
    batches=st.lists(st.integers(1, 2**20), min_size=1, max_size=3, unique=True),
)
def test_every_case_of_every_subject_is_made_again_from_its_id(
    every_record: list[ComponentRecord],
    seeds: list[int],
    frames: list[int],
    batches: list[int],
) -> None:
    chosen = matrix(seeds=seeds, frames=frames, batches=batches)
    for record in every_record:
        subject = subject_of(record)
        for case in subject.cases(record, chosen):
            assert Case.parse(case.id) == case
            subject.require(record, case)


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "is no id of a case"),
        ("coarse", "is no id of a case"),
        ("coarse/seed=0/batch=1", "is no id of a case"),
        ("coarse/seed=-1/batch=1/length=3", "is no id of a case"),
        ("coarse/seed=0/batch=1/length=3\n", "is no id of a case"),
        ("../coarse/seed=0/batch=1/length=3", "is no id of a case"),
        ("coarse/seed=00/batch=1/length=3", "did you mean coarse/seed=0/batch=1/length=3"),
        ("coarse/seed=0/batch=1/length=3/codebooks=0", "did you mean"),
        ("coarse/seed=0/batch=0/length=3", "batch must be 1 or more"),
        ("coarse/seed=0/batch=1/length=0", "length must be 1 or more"),
        (f"coarse/seed={1 << 63}/batch=1/length=3", "at most"),
    ],
)
def test_what_is_no_id_is_refused_with_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        Case.parse(text)


@pytest.mark.parametrize(
    "text, says",
    [
        (
            "sampler/seed=0/batch=1/length=3/codebooks=2/loud",
            "no setting 'loud'; known: argmax",
        ),
        ("coarse/seed=0/batch=1/length=3/codebooks=2", "codebooks must be 0"),
        ("codec_decoder/seed=0/batch=1/length=3/codebooks=99", "codebooks must be 1 to"),
        ("coarse/seed=0/batch=1/length=3/masked", "no setting 'masked'; known: none at all"),
    ],
)
def test_a_case_that_its_component_cannot_make_is_refused(
    every_record: list[ComponentRecord], text: str, says: str
) -> None:
    case = Case.parse(text)
    (record,) = (record for record in every_record if record.id == case.component)
    with pytest.raises(InputError, match=says):
        subject_of(record).require(record, case)
