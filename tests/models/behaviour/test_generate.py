"""`generate` makes the published tokens, and mends what the package meant."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded_cases import cases, recorded_case
from tests.support.sets import GoldenSet
from tests.support.toy_model import toy_model
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import Mode, generation_settings
from vampnet_onnx.models.behaviour.generate import TokenModel, generate
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.models.behaviour.sampling import StepResult


class Keeping:
    """Noise of a source, with every tensor kept."""

    def __init__(self, seed: int) -> None:
        self.source, self.kept = TorchNoise(seed), []

    def exponential(self, shape: tuple[int, ...]) -> torch.Tensor:
        self.kept.append(self.source.exponential(shape))
        return self.kept[-1]

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        self.kept.append(self.source.uniform(shape))
        return self.kept[-1]


class Replayed:
    """Noise kept before, in the order in which it was asked for."""

    def __init__(self, kept: list[torch.Tensor]) -> None:
        self.kept = iter(kept)

    def exponential(self, shape: tuple[int, ...]) -> torch.Tensor:
        found = next(self.kept)
        assert found.shape == shape
        return found

    uniform = exponential


class Zipped:
    """The noise of one-item batches put together: item i sees the noise of source i."""

    def __init__(self, *seeds: int) -> None:
        self.sources = [TorchNoise(seed) for seed in seeds]

    def exponential(self, shape: tuple[int, ...]) -> torch.Tensor:
        n = len(self.sources)
        return torch.cat([s.exponential((shape[0] // n, shape[1])) for s in self.sources])

    def uniform(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.cat([s.uniform((1, shape[1])) for s in self.sources])


@pytest.mark.parametrize("kind", ["generate_coarse", "generate_c2f"])
def test_tokens_are_the_published_ones_for_a_seed(golden: GoldenSet, kind: str) -> None:
    found = cases(golden, kind)
    assert len(found) == {"generate_coarse": 20, "generate_c2f": 4}[kind]
    for case in found:
        model, codes, mask, choices, seed = recorded_case(golden, case)
        tokens = generate(model, codes, mask, settings=choices, noise=TorchNoise(seed))
        np.testing.assert_array_equal(tokens, golden.array(f"{case}/tokens"), case)


def test_torchs_global_generator_gives_the_published_tokens_too(golden_a: GoldenSet) -> None:
    case = "generate_coarse/7/default"
    model, codes, mask, choices, seed = recorded_case(golden_a, case)
    torch.manual_seed(seed)
    tokens = generate(model, codes, mask, settings=choices, noise=TorchNoise())
    np.testing.assert_array_equal(tokens, golden_a.array(f"{case}/tokens"))


def test_a_seeded_source_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(toy_model(), masked_codes())
    assert torch.equal(torch.rand(3), expected)


def masked_codes(batch: int = 1, steps: int = 9, n: int = 3, mask: int = 11) -> torch.Tensor:
    return torch.full((batch, n, steps), mask)


def run(
    model: TokenModel, codes: torch.Tensor, *, seed: int = 0, **choices: object
) -> torch.Tensor:
    chosen = generation_settings(**{"steps": 4, "typical_filtering": False, **choices})
    return generate(model, codes, None, settings=chosen, noise=TorchNoise(seed))


def test_kept_noise_replays_a_generation() -> None:
    keeping, chosen = Keeping(3), generation_settings(sample_cutoff=0.5, steps=6)
    first = generate(toy_model(), masked_codes(), None, settings=chosen, noise=keeping)
    # Steps 0 to 3 draw; the last two take the argmax and draw for the remasking alone.
    assert [k.shape for k in keeping.kept] == 4 * [(27, 11), (1, 27)] + 2 * [(1, 27)]
    replayed = Replayed(keeping.kept)
    again = generate(toy_model(), masked_codes(), None, settings=chosen, noise=replayed)
    assert torch.equal(first, again)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    n_given=st.integers(0, 2),
    steps=st.integers(1, 12),
    sampling_steps=st.integers(1, 6),
    portion=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    mode=st.sampled_from(Mode),
)
def test_masked_codes_are_generated_and_nothing_else_is_touched(
    batch: int,
    n_given: int,
    steps: int,
    sampling_steps: int,
    portion: float,
    seed: int,
    mode: Mode,
) -> None:
    model = toy_model(n_conditioning=n_given)
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 11, (batch, 3, steps), generator=draw)
    mask = (torch.rand(codes.shape, generator=draw) < portion).long()
    mask[:, :n_given] = 0
    chosen = generation_settings(steps=sampling_steps, mode=mode)
    found = generate(model, codes, mask, settings=chosen, noise=TorchNoise(seed))
    assert found.shape == codes.shape and found.dtype == torch.int64
    assert torch.equal(found[mask == 0], codes[mask == 0])
    assert (found < model.mask_token).all() and (found >= 0).all()


def test_every_step_is_reported_and_leaves_fewer_codes_masked() -> None:
    seen: list[StepResult] = []
    chosen = generation_settings(steps=5)
    found = generate(
        toy_model(),
        masked_codes(),
        None,
        settings=chosen,
        noise=TorchNoise(0),
        on_step=lambda step, result: seen.append(result),
    )
    left = [int((r.codes == 11).sum()) for r in seen]
    assert len(left) == 5 and left == sorted(left, reverse=True) and left[-1] == 0
    assert torch.equal(seen[-1].sampled, found)


def test_mask_tokens_in_the_codes_are_generated_without_a_mask_over_them() -> None:
    codes = masked_codes()
    chosen = generation_settings()
    nothing = torch.zeros_like(codes)
    found = generate(toy_model(), codes, nothing, settings=chosen, noise=TorchNoise(1))
    assert torch.equal(found, run_default(codes, seed=1))


def run_default(codes: torch.Tensor, *, seed: int) -> torch.Tensor:
    chosen = generation_settings()
    return generate(toy_model(), codes, None, settings=chosen, noise=TorchNoise(seed))


# What looks like a defect: the published behaviour, and the corrected one beside it.


@pytest.mark.parametrize(
    "narrow", [{"typical_filtering": True, "typical_min_tokens": 1}, {"top_k": 1}]
)
def test_filters_asked_for_have_no_effect_as_published_and_have_one_corrected(
    narrow: dict[str, object],
) -> None:
    plain = run(toy_model(), masked_codes())
    assert torch.equal(run(toy_model(), masked_codes(), **narrow), plain)
    corrected = run(toy_model(), masked_codes(), **narrow, mode=Mode.CORRECTED)
    assert not torch.equal(corrected, plain)
    unfiltered = run(toy_model(), masked_codes(), mode=Mode.CORRECTED)
    assert torch.equal(unfiltered, plain)  # one item: nothing else differs


def test_batch_items_influence_each_other_as_published_and_not_corrected() -> None:
    model, few = toy_model(), torch.arange(60).reshape(1, 3, 20) % 11
    few[:, :, :4] = model.mask_token
    both = torch.cat([few, masked_codes(steps=20)])

    def generated(codes: torch.Tensor, mode: Mode, *seeds: int) -> torch.Tensor:
        chosen = generation_settings(steps=4, mode=mode)
        zeros, noise = torch.zeros_like(codes), Zipped(*seeds)
        return generate(model, codes, zeros, settings=chosen, noise=noise)

    alone = {m: generated(few, m, 1) for m in Mode}
    together = {m: generated(both, m, 1, 2)[:1] for m in Mode}
    assert torch.equal(together[Mode.CORRECTED], alone[Mode.CORRECTED])
    assert not torch.equal(together[Mode.REFERENCE], alone[Mode.REFERENCE])
    assert torch.equal(alone[Mode.REFERENCE], alone[Mode.CORRECTED])


def test_guidance_changes_only_the_noise_as_published_and_the_logits_corrected() -> None:
    model, codes = toy_model(), masked_codes()
    # Published: any scale gives the same tokens, and they differ from those without.
    weak, strong = (run(model, codes, cfg_guidance=scale) for scale in (1.0, 9.0))
    assert torch.equal(weak, strong)
    assert not torch.equal(weak, run(model, codes))
    # Corrected: scale 1 is the conditional model alone, others move the logits.
    corrected = {"mode": Mode.CORRECTED}
    plain = run(model, codes, **corrected)
    assert torch.equal(run(model, codes, cfg_guidance=1.0, **corrected), plain)

    def by_hand(codes: torch.Tensor) -> torch.Tensor:
        blank = torch.full_like(codes, model.mask_token)
        return 9 * model.logits(codes) - 8 * model.logits(blank)

    guided = run(model, codes, cfg_guidance=9.0, **corrected)
    assert torch.equal(guided, run(replace(model, logits=by_hand), codes, **corrected))
    assert not torch.equal(guided, plain)


def test_a_mask_over_conditioning_codebooks_counts_as_published_and_not_corrected() -> None:
    model = toy_model(n_conditioning=1)
    codes = torch.arange(60).reshape(1, 3, 20) % 11
    fine_only, everywhere = torch.ones_like(codes), torch.ones_like(codes)
    fine_only[:, :1] = 0

    def generated(mask: torch.Tensor, mode: Mode) -> torch.Tensor:
        chosen = generation_settings(steps=4, mode=mode)
        return generate(model, codes, mask, settings=chosen, noise=TorchNoise(0))

    for mode, same in ((Mode.REFERENCE, False), (Mode.CORRECTED, True)):
        a, b = generated(fine_only, mode), generated(everywhere, mode)
        assert torch.equal(a, b) == same
        assert torch.equal(b[:, :1], codes[:, :1])


# Bad input.


@pytest.mark.parametrize(
    ("codes", "mask", "says"),
    [
        (torch.zeros(1, 2, 5), None, r"\[batch, 3, steps\]"),
        (torch.zeros(1, 3, 0), None, r"\[batch, 3, steps\]"),
        (torch.zeros(3, 5), None, r"\[batch, 3, steps\]"),
        (torch.full((1, 3, 5), 12), None, "from 0 to 11"),
        (torch.full((1, 3, 5), -1), None, "from 0 to 11"),
        (torch.zeros(1, 3, 5), torch.zeros(1, 3, 4), "the mask is"),
        (torch.zeros(1, 3, 5), torch.full((1, 3, 5), 2), "only 0"),
    ],
)
def test_codes_and_masks_that_do_not_fit_are_refused(
    codes: torch.Tensor, mask: torch.Tensor | None, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        generate(
            toy_model(),
            codes.long(),
            None if mask is None else mask.long(),
            settings=generation_settings(),
            noise=TorchNoise(0),
        )


def test_codes_of_another_type_are_refused() -> None:
    with pytest.raises(InputError, match="float32"):
        run(toy_model(), torch.zeros(1, 3, 5))


def test_logits_that_are_not_finite_stop_at_their_step() -> None:
    calls = []

    def broken(codes: torch.Tensor) -> torch.Tensor:
        calls.append(codes)
        logits = toy_model().logits(codes)
        logits[0, 0, 0] = math.nan if len(calls) == 3 else 0
        return logits

    with pytest.raises(FloatingPointError, match="toy: logits are not finite at step 2"):
        run(replace(toy_model(), logits=broken), masked_codes())
