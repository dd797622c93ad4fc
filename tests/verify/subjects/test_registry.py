"""Cases: the same bytes on any machine, and a matrix that reaches what it promises."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import DIMS, matrix, record
from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.subjects.case import Arrays, Case
from vampnet_onnx.verify.subjects.registry import subject_of

# Written once; a difference means that reports of two machines are about different inputs.
PINNED = {
    "codec_encoder/seed=0/batch=1/length=37": "688ac96c84f8f9ef164e28f37bf07a28",
    "codec_encoder/seed=17/batch=3/length=1000": "f391d4de34f0681622bb5fc0dd49ca4d",
    "codec_decoder/seed=2/batch=2/length=13/codebooks=3": "199c2c3a2e69f74424758772d233e07b",
    "coarse/seed=0/batch=3/length=13": "bdeef1544e0b8f28764f861feecb83dd",
    "c2f/seed=2/batch=1/length=200": "187ca2a604c38a672d8cf8f958157905",
    "coarse.latents/seed=1/batch=2/length=7": "87e6d2c82c5fb4edd9c22cd602df895d",
}

COMPONENTS = ["codec_encoder", "codec_decoder", "coarse", "c2f", "coarse.latents"]


def cases_for(component: ComponentRecord, chosen: VerifySection) -> list[Case]:
    return subject_of(component).cases(component, chosen)


def make_inputs(case: Case, component: ComponentRecord) -> Arrays:
    return subject_of(component).inputs(component, case)


def digest(case: Case, component: ComponentRecord) -> str:
    (array,) = make_inputs(case, component).values()
    return hashlib.sha256(array.tobytes()).hexdigest()[:32]


@pytest.mark.parametrize("case_id", PINNED)
def test_the_bytes_of_a_case_never_change(case_id: str) -> None:
    name, *parts = case_id.split("/")
    values = {key: int(value) for key, value in (part.split("=") for part in parts)}
    case = Case(
        name, values["seed"], values["batch"], values["length"], values.get("codebooks", 0)
    )
    assert case.id == case_id
    assert digest(case, record(name)) == PINNED[case_id]


def test_no_case_depends_on_numpys_distributions_or_on_a_sine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their results may change with the release or the platform; raw bits do not."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("used")

    for name in ("sin", "cos", "exp", "log", "power", "sqrt"):
        monkeypatch.setattr(np, name, forbidden)
    monkeypatch.setattr(np.random, "default_rng", forbidden)
    monkeypatch.setattr(np.random, "Generator", forbidden)
    for name in COMPONENTS:
        make_inputs(Case(name, 0, 2, 5, 2 if name == "codec_decoder" else 0), record(name))


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(COMPONENTS),
    seed=st.integers(0, 2**40),
    batch=st.integers(1, 4),
    length=st.integers(1, 300),
    books=st.integers(1, 3),
)
def test_inputs_have_the_type_shape_and_range_of_the_signature(
    name: str, seed: int, batch: int, length: int, books: int
) -> None:
    component = record(name)
    given_books = books if name == "codec_decoder" else 0
    case = Case(name, seed, batch, length, given_books)
    inputs = make_inputs(case, component)
    assert list(inputs) == [item.name for item in component.inputs]
    (array,) = inputs.values()
    assert array.dtype.name == component.inputs[0].dtype
    expected = {
        "codec_encoder": (batch, 1, length),
        "codec_decoder": (batch, books, length),
        "coarse": (batch, 2, length),
        "c2f": (batch, 3, length),
        "coarse.latents": (batch, 10, length),
    }[name]
    assert array.shape == expected and np.isfinite(array).all()
    if name == "codec_encoder":
        assert np.abs(array).max() <= 1
    elif name == "codec_decoder":
        assert array.min() >= 0 and array.max() < DIMS["codec"]["codebook_size"]
    elif name != "coarse.latents":
        assert array.min() >= 0 and array.max() <= 11
    again = make_inputs(case, component)
    assert all(np.array_equal(array, other) for other in again.values())


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(COMPONENTS), seed=st.integers(0, 10**6))
def test_another_seed_gives_another_input(name: str, seed: int) -> None:
    books = 3 if name == "codec_decoder" else 0
    cases = [Case(name, s, 1, 40, books) for s in (seed, seed + 1)]
    first, second = (digest(case, record(name)) for case in cases)
    assert first != second


def test_audio_is_neither_silent_nor_clipped() -> None:
    for seed in range(8):
        case = Case("codec_encoder", seed, 2, 4000)
        audio = make_inputs(case, record("codec_encoder"))["audio"]
        assert 0.02 < audio.std() < 0.5 and np.abs(audio).max() < 1
        assert not np.array_equal(audio[0], audio[1])


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_every_share_of_masking_is_tried_and_every_code_comes_up(name: str) -> None:
    seen = set()
    shares = []
    for seed in range(4):
        codes = make_inputs(Case(name, seed, 3, 200), record(name))["codes"]
        seen |= set(np.unique(codes).tolist())
        shares.append(float((codes[:, -1] == 11).mean()))
    assert seen == set(range(12))
    assert shares == sorted(shares) and shares[0] < 0.4 and shares[-1] == 1


def test_conditioning_codebooks_are_hardly_ever_masked() -> None:
    codes = make_inputs(Case("c2f", 3, 3, 200), record("c2f"))["codes"]
    assert 0 < (codes[:, :2] == 11).mean() < 0.15
    assert (codes[:, 2] == 11).all()


def test_the_encoder_is_tried_on_and_off_the_hop_and_at_one_sample() -> None:
    cases = cases_for(record("codec_encoder"), matrix(frames=[1, 7, 13]))
    lengths = {case.length for case in cases}
    hop = 4
    assert 1 in lengths and {hop, 7 * hop, 13 * hop} <= lengths
    assert any(length % hop for length in lengths if length > hop)
    assert all(length >= 1 for length in lengths)


def test_the_decoder_is_given_every_number_of_codebooks() -> None:
    cases = cases_for(record("codec_decoder"), matrix(seeds=[0, 1, 2], frames=[1, 7, 13]))
    assert {case.codebooks for case in cases} == {1, 2, 3}
    assert all(case.codebooks == 3 for case in cases if case.length == 1)


@pytest.mark.parametrize("name", COMPONENTS)
def test_the_matrix_is_the_whole_product_and_ids_are_unique(name: str) -> None:
    chosen = matrix(seeds=[3, 5], frames=[1, 13], batches=[1, 2, 3])
    cases = cases_for(record(name), chosen)
    assert {case.seed for case in cases} == {3, 5}
    assert {case.batch for case in cases} == {1, 2, 3}
    assert len({case.id for case in cases}) == len(cases)
    assert cases == cases_for(record(name), chosen)


def test_a_case_is_named_by_everything_that_decides_its_bytes() -> None:
    numbers = [(0, 1, 1, 1), (1, 1, 1, 1), (0, 2, 1, 1), (0, 1, 2, 1), (0, 1, 1, 2)]
    variants = [Case(name, *values) for name in ("coarse", "c2f") for values in numbers]
    assert len({case.id for case in variants}) == len(variants)
    assert isinstance(matrix(), VerifySection)
