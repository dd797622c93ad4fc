"""models/behaviour/sampling.py samples as the published package does, and as it meant to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded_cases import cases, parameters
from tests.support.sets import GoldenSet, assert_within
from tests.support.toy_model import logits_of
from vampnet_onnx.configs.settings import Mode, generation_settings
from vampnet_onnx.models.behaviour import sampling
from vampnet_onnx.models.behaviour.noise import TorchNoise

FLOAT_TOLERANCE = 1e-6
CORRECTED = {"mode": Mode.CORRECTED}

seeds = st.integers(0, 2**31 - 1)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 20))


def kept(filtered: torch.Tensor) -> torch.Tensor:
    return torch.isfinite(filtered)


@pytest.fixture(scope="module", params=[0, 1])
def case(golden_a: GoldenSet, request: pytest.FixtureRequest) -> str:
    assert len(cases(golden_a, "sampling")) == 2
    return f"sampling/{request.param}"


def test_tokens_and_probabilities_are_the_published_ones(
    golden_a: GoldenSet, case: str
) -> None:
    given_ = parameters(golden_a, case)
    tokens, probabilities = sampling.sample_from_logits(
        golden_a.tensor(f"{case}/logits"),
        golden_a.tensor(f"{case}/exponential_noise"),
        temperature=given_["temperature"],
    )
    np.testing.assert_array_equal(tokens, golden_a.array(f"{case}/tokens"))
    assert_within(probabilities, golden_a.array(f"{case}/token_probs"), FLOAT_TOLERANCE)


def test_tokens_after_top_k_and_top_p_are_the_published_ones(
    golden_a: GoldenSet, case: str
) -> None:
    given_ = parameters(golden_a, case)
    logits = golden_a.tensor(f"{case}/logits")
    noise = golden_a.tensor(f"{case}/exponential_noise")
    for filtered, name in (
        (sampling.keep_top_k(logits, given_["top_k"]), "top_k_5_tokens"),
        (sampling.keep_top_p(logits, given_["top_p"]), "top_p_06_tokens"),
    ):
        found, _ = sampling.sample_from_logits(
            filtered, noise, temperature=given_["filters_temperature"]
        )
        np.testing.assert_array_equal(found, golden_a.array(f"{case}/{name}"))


@pytest.mark.parametrize(
    ("name", "mass", "min_tokens"),
    [
        ("typical_filtered", None, None),
        ("typical_filtered_mass_09", 0.9, 1),
        ("typical_filtered_mass_03", 0.3, 2),  # the minimum is not recorded; 2 alone fits
    ],
)
def test_typical_filter_is_the_published_one(
    golden_a: GoldenSet, case: str, name: str, mass: float | None, min_tokens: int | None
) -> None:
    recorded = parameters(golden_a, case)["typical"]
    found = sampling.keep_typical(
        golden_a.tensor(f"{case}/logits"),
        mass or recorded["mass"],
        min_tokens or recorded["min_tokens"],
    )
    np.testing.assert_array_equal(found, golden_a.array(f"{case}/{name}"))


def test_remasking_a_single_code_settles_it() -> None:
    """The published function fails here: it indexes position 1 of one."""
    one = torch.ones(1, 1)
    found = sampling.mask_by_random_topk(torch.tensor([1]), one, torch.tensor(1.0), one / 2)
    assert not found.any()


def test_remasking_is_the_published_one(golden_a: GoldenSet, case: str) -> None:
    found = sampling.mask_by_random_topk(
        golden_a.tensor(f"{case}/num_to_mask")[:, 0],
        golden_a.tensor(f"{case}/token_probs"),
        torch.tensor(parameters(golden_a, case)["remask_temperature"]),
        golden_a.tensor(f"{case}/uniform_noise"),
    )
    np.testing.assert_array_equal(found, golden_a.array(f"{case}/remask"))


def test_recorded_noise_is_what_the_seed_draws(golden_a: GoldenSet, case: str) -> None:
    seed = parameters(golden_a, case)["seed"]
    for name in ("exponential", "uniform"):
        recorded = golden_a.tensor(f"{case}/{name}_noise")
        drawn = getattr(TorchNoise(seed), name)(tuple(recorded.shape))
        assert torch.equal(drawn, recorded)


@given(seed=seeds, rows=st.integers(1, 20), entries=st.integers(2, 40))
def test_drawing_with_exponential_noise_is_torchs_multinomial(
    seed: int, rows: int, entries: int
) -> None:
    logits = logits_of(1, rows, entries, seed=seed)
    noise = TorchNoise(seed).exponential((rows, entries))
    found, _ = sampling.sample_from_logits(logits, noise, temperature=1.0)
    torch.manual_seed(seed)
    expected = torch.softmax(logits[0], dim=-1).multinomial(1)[:, 0]
    assert torch.equal(found[0], expected)


def test_without_noise_the_most_probable_entry_is_taken() -> None:
    logits = logits_of(2, 5, 7)
    tokens, probabilities = sampling.sample_from_logits(logits, None, temperature=0.5)
    assert torch.equal(tokens, logits.argmax(-1))
    expected = torch.softmax(logits / 0.5, dim=-1).max(-1).values
    assert torch.equal(probabilities, expected)


def test_temperature_zero_leaves_the_logits() -> None:
    logits, noise = logits_of(1, 9, 7), TorchNoise(0).exponential((9, 7))
    at_zero = sampling.sample_from_logits(logits, noise, temperature=0.0)
    at_one = sampling.sample_from_logits(logits, noise, temperature=1.0)
    assert torch.equal(at_zero[0], at_one[0])
    assert torch.equal(at_zero[1], at_one[1])


def test_the_schedule_is_rounded_before_the_cosine() -> None:
    """At two thirds float64 gives exactly half of the codes, float32 one fewer."""
    at_start, masked = torch.tensor(240), torch.tensor([240])
    assert sampling.count_to_mask(1, 3, at_start, masked).tolist() == [119]
    exact = math.cos(2 / 3 * math.pi / 2) * 240
    assert math.floor(exact + 1e-9) == 120


def test_the_schedule_falls_from_everything_to_nothing() -> None:
    ratios = torch.linspace(0, 1, 50)
    values = sampling.gamma(ratios)
    assert values[0] == 1 and values[-1] <= 1e-7
    assert (values.diff() < 0).all()
    assert sampling.gamma(torch.tensor(2.0)) == torch.tensor(1e-10)


@given(
    steps=st.integers(1, 40),
    at_start=st.integers(0, 5000),
    masked=st.integers(0, 5000),
    data=st.data(),
)
def test_every_step_but_the_last_masks_at_least_one_and_fewer_than_before(
    steps: int, at_start: int, masked: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(0, steps - 1))
    count = sampling.count_to_mask(
        step, steps, torch.tensor(at_start), torch.tensor([masked])
    ).item()
    if step == steps - 1:
        assert count == 0
    else:
        assert 1 <= count <= max(masked - 1, 1)


@given(shape=sizes)
def test_flattening_is_time_major_and_undone(shape: tuple[int, int, int]) -> None:
    codes = torch.arange(math.prod(shape)).reshape(shape)
    flat = sampling.flatten_codes(codes)
    assert torch.equal(flat[:, : shape[1]], codes[:, :, 0])
    assert torch.equal(sampling.unflatten_codes(flat, shape[1]), codes)


@given(seed=seeds, entries=st.integers(1, 40), k=st.integers(1, 50))
def test_top_k_keeps_the_k_largest(seed: int, entries: int, k: int) -> None:
    logits = logits_of(2, 3, entries, seed=seed)
    found = kept(sampling.keep_top_k(logits, k))
    assert (found.sum(-1) == min(k, entries)).all()
    lowest = logits.masked_fill(~found, math.inf).amin(-1)
    assert (logits.masked_fill(found, -math.inf).amax(-1) < lowest).all()


def test_top_k_keeps_ties() -> None:
    assert kept(sampling.keep_top_k(torch.tensor([3.0, 1.0, 3.0, 2.0]), 1)).tolist() == [
        True,
        False,
        True,
        False,
    ]


@given(seed=seeds, entries=st.integers(1, 40), p=st.floats(0.01, 1.2))
def test_top_p_keeps_the_first_entry_beyond_the_mass(
    seed: int, entries: int, p: float
) -> None:
    logits = logits_of(2, 3, entries, seed=seed)
    found = kept(sampling.keep_top_p(logits, p))
    probability = torch.softmax(logits.double(), dim=-1)
    total = (probability * found).sum(-1)
    least = torch.where(found, probability, math.inf).amin(-1)
    assert (total >= min(p, 1) - 1e-5).all()
    if p < 1:
        assert (total - least <= p + 1e-5).all()  # without the last one it is not beyond
    else:
        assert found.all()


@given(
    seed=seeds, entries=st.integers(1, 40), mass=st.floats(0.01, 1), least=st.integers(0, 50)
)
def test_typical_filter_keeps_its_mass_and_at_least_the_minimum(
    seed: int, entries: int, mass: float, least: int
) -> None:
    logits = logits_of(2, 3, entries, seed=seed)
    found = kept(sampling.keep_typical(logits, mass, least))
    total = (torch.softmax(logits.double(), dim=-1) * found).sum(-1)
    assert (total >= mass - 1e-5).all()
    assert (found.sum(-1) >= min(max(least, 1), entries)).all()


def test_typical_filter_may_drop_the_most_probable_entry() -> None:
    logits = torch.tensor([[0.4] + [0.02] * 30]).log()
    found = kept(sampling.keep_typical(logits, 0.3, 1))
    assert not found[0, 0] and found[0, 1:].all()


@settings(deadline=None)
@given(seed=seeds, shape=sizes, data=st.data())
def test_remasking_picks_the_number_asked_for_and_never_a_kept_code(
    seed: int, shape: tuple[int, int, int], data: st.DataObject
) -> None:
    batch, n = shape[0], shape[1] * shape[2]
    draw = torch.Generator().manual_seed(seed)
    probabilities = torch.rand((batch, n), generator=draw)
    n_masked = data.draw(st.integers(0, n))
    probabilities[:, n_masked:] = math.inf
    count = torch.full((batch,), data.draw(st.integers(0, n - 1)))
    found = sampling.mask_by_random_topk(
        count, probabilities, torch.tensor(3.0), TorchNoise(seed).uniform((batch, n))
    )
    assert not found[:, n_masked:].any()
    assert (found.sum(-1) <= torch.minimum(count, torch.tensor(n_masked))).all()
    if n_masked and torch.unique(probabilities[:, :n_masked]).numel() == batch * n_masked:
        assert (found.sum(-1) == torch.minimum(count, torch.tensor(n_masked))).all()


def step_of(
    choices: dict[str, object], codes: torch.Tensor, *, step: int = 0, seed: int = 0
) -> sampling.StepResult:
    batch, n, steps = codes.shape
    logits, noise = logits_of(batch, 12, n * steps, seed=1), TorchNoise(seed)
    return sampling.sampling_step(
        logits,
        codes,
        step=step,
        at_start=(codes == 12).sum(),
        mask_token=12,
        settings=generation_settings(**choices),
        exponential=noise.exponential((batch * n * steps, 12)),
        uniform=noise.uniform((batch, n * steps)),
    )


@given(shape=sizes, seed=seeds, step=st.integers(0, 11), portion=st.floats(0, 1))
def test_a_step_changes_masked_codes_only(
    shape: tuple[int, int, int], seed: int, step: int, portion: float
) -> None:
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 12, shape, generator=draw)
    masked = torch.rand(shape, generator=draw) < portion
    codes[masked] = 12
    before = codes.clone()
    result = step_of({}, codes, step=step)
    assert torch.equal(codes, before)
    assert torch.equal(result.sampled[~masked], codes[~masked])
    assert (result.sampled < 12).all()
    again = result.codes == 12
    assert not again[~masked].any()
    assert torch.equal(result.codes[~again], result.sampled[~again])
    if step == 11:
        assert not again.any()


def test_typical_filtering_has_no_effect_as_published_and_has_one_corrected() -> None:
    codes = torch.full((1, 2, 30), 12)
    narrow = {"typical_mass": 0.05, "typical_min_tokens": 1}
    off = {"typical_filtering": False}
    assert torch.equal(step_of(narrow, codes).sampled, step_of(off, codes).sampled)
    corrected = step_of({**narrow, **CORRECTED}, codes).sampled
    assert not torch.equal(corrected, step_of({**off, **CORRECTED}, codes).sampled)
    typical = sampling.keep_typical(logits_of(1, 12, 60, seed=1).transpose(1, 2), 0.05, 1)
    allowed = kept(typical).gather(-1, sampling.flatten_codes(corrected)[..., None])
    assert allowed.all()


def test_top_k_has_no_effect_as_published_and_has_one_corrected() -> None:
    codes, off = torch.full((1, 2, 30), 12), {"typical_filtering": False}
    plain = step_of(off, codes).sampled
    assert torch.equal(step_of({**off, "top_k": 1}, codes).sampled, plain)
    corrected = step_of({**off, **CORRECTED, "top_k": 1}, codes).sampled
    best = logits_of(1, 12, 60, seed=1).argmax(1)
    assert torch.equal(sampling.flatten_codes(corrected), best)
    assert not torch.equal(corrected, plain)


def test_top_p_has_its_effect_in_both_modes() -> None:
    codes = torch.full((1, 2, 30), 12)
    best = logits_of(1, 12, 60, seed=1).argmax(1)
    for mode in Mode:
        choices = {"typical_filtering": False, "top_p": 1e-6, "mode": mode}
        found = step_of(choices, codes).sampled
        assert torch.equal(sampling.flatten_codes(found), best)
