"""The sampler's graph, looped with recorded noise, generates the published tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.built_components import (
    DIMS,
    Run,
    all_nodes,
    cached_run,
    dims_like,
    failed_gates,
    proto,
    run_component,
    run_model,
    verified,
)
from tests.support.recorded_cases import cases, parameters, recorded_case
from tests.support.sets import GOLDEN, GoldenSet, assert_within
from tests.support.toy_model import logits_of, toy_model
from vampnet_onnx.configs.settings import GenerationSettings, Mode, generation_settings
from vampnet_onnx.export.components import sampler as exported
from vampnet_onnx.export.components.component import signature
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.components.sampler import sampler
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.graph.builder import GraphBuilder
from vampnet_onnx.models import CodecDims
from vampnet_onnx.models.behaviour import sampling
from vampnet_onnx.models.behaviour.generate import TokenModel, generate
from vampnet_onnx.models.behaviour.masks import apply_mask, codebook_unmask, full_mask
from vampnet_onnx.models.behaviour.noise import NoiseSource, TorchNoise

FLOAT_TOLERANCE = 2e-6


def run_sampler(vocab: int = DIMS.codebook_size) -> Run:
    return cached_run(sampler, dims_like(DIMS, codebook_size=vocab))


def options(chosen: GenerationSettings, step: int) -> dict[str, np.ndarray]:
    """Return the sampler's inputs that settings decide: a quirk is an option left off."""
    corrected = chosen.mode is Mode.CORRECTED
    return {
        "step": np.asarray(step, np.int64),
        "steps": np.asarray(chosen.steps, np.int64),
        "temperature": np.asarray(chosen.temperature, np.float32),
        "mask_temperature": np.asarray(chosen.mask_temperature, np.float32),
        "sample_cutoff": np.asarray(chosen.sample_cutoff, np.float64),
        "top_k": np.asarray((chosen.top_k or 0) if corrected else 0, np.int64),
        "top_p": np.asarray(1.0 if chosen.top_p is None else chosen.top_p, np.float32),
        "typical_filtering": np.asarray(corrected and chosen.typical_filtering),
        "typical_mass": np.asarray(chosen.typical_mass, np.float32),
        "typical_min_tokens": np.asarray(chosen.typical_min_tokens, np.int64),
    }


def step_with(
    run: Run,
    logits: np.ndarray,
    codes: np.ndarray,
    chosen: GenerationSettings,
    step: int,
    *,
    at_start: np.ndarray,
    exponential: np.ndarray | None,
    uniform: np.ndarray,
) -> dict[str, np.ndarray]:
    none = np.zeros((0, logits.shape[1]), np.float32)
    return run(
        {
            "logits": logits,
            "codes": codes,
            "at_start": at_start.astype(np.int64),
            "exponential": none if exponential is None else exponential,
            "uniform": uniform,
            **options(chosen, step),
        }
    )


def generate_onnx(
    model: TokenModel,
    run: Run,
    codes: torch.Tensor,
    mask: torch.Tensor | None,
    chosen: GenerationSettings,
    noise: NoiseSource,
) -> np.ndarray:
    """Loop the sampler as its users do; the model is any function from codes to logits."""
    given_books = model.n_conditioning_codebooks
    if mask is None:
        mask = codebook_unmask(full_mask(codes), given_books)
    masked = apply_mask(codes, mask, model.mask_token).numpy()
    kept, predicted = masked[:, :given_books], masked[:, given_books:]
    counted = predicted == model.mask_token
    if chosen.mode is Mode.REFERENCE:
        at_start = np.full(len(codes), (masked == model.mask_token).sum())
    else:
        at_start = counted.sum(axis=(1, 2))
    batch, positions = len(codes), predicted[0].size
    asked = 2 * batch if chosen.cfg_guidance and chosen.mode is Mode.REFERENCE else batch
    for step in range(chosen.steps):
        full = np.concatenate([kept, predicted], axis=1)
        logits = model.logits(torch.from_numpy(full)).numpy()
        exponential = None
        if sampling.draws_tokens(step, chosen):
            drawn = noise.exponential((asked * positions, model.mask_token))
            exponential = drawn[: batch * positions].numpy()
        uniform = noise.uniform((asked, positions))[:batch].numpy()
        result = step_with(
            run,
            logits,
            predicted,
            chosen,
            step,
            at_start=at_start,
            exponential=exponential,
            uniform=uniform,
        )
        kept, predicted = codes[:, :given_books].numpy(), result["next_codes"]
    np.testing.assert_array_equal(result["sampled"], predicted)  # the last step masks nothing
    return np.concatenate([kept, result["sampled"]], axis=1)


@lru_cache(maxsize=2)
def network(folder: str, name: str) -> Run:
    models = GoldenSet(GOLDEN / folder).models
    return run_model(export_component(build_component(name, models)).model)


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_golden_generations_come_out_of_the_exported_graphs_alone(
    golden: GoldenSet, name: str
) -> None:
    forward = network(golden.folder.name, name)
    for case in cases(golden, f"generate_{name}"):
        model, codes, mask, chosen, seed = recorded_case(golden, case)
        exported = replace(
            model,
            logits=lambda codes: torch.from_numpy(forward({"codes": codes.numpy()})["logits"]),
        )
        tokens = generate_onnx(
            exported, run_sampler(model.mask_token), codes, mask, chosen, TorchNoise(seed)
        )
        np.testing.assert_array_equal(tokens, golden.array(f"{case}/tokens"), case)


@pytest.fixture(scope="module", params=[0, 1])
def case(golden_a: GoldenSet, request: pytest.FixtureRequest) -> str:
    return f"sampling/{request.param}"


def sampled_case(golden: GoldenSet, case: str, **choices: object) -> dict[str, np.ndarray]:
    """Run step 0 of 4 on a recorded case, everything masked; at_start gives its counts."""
    logits = golden.array(f"{case}/logits").transpose(0, 2, 1)
    batch, vocab, positions = logits.shape
    counts = golden.array(f"{case}/num_to_mask")[:, 0]
    chosen = generation_settings(
        steps=4, mask_temperature=10.5, **{"typical_filtering": False, **choices}
    )
    share = sampling.gamma(sampling.step_ratio(0, 4)).item()
    return step_with(
        run_sampler(vocab),
        np.ascontiguousarray(logits),
        np.full((batch, 1, positions), vocab),
        chosen,
        0,
        at_start=np.ceil(counts / share),
        uniform=golden.array(f"{case}/uniform_noise"),
        exponential=golden.array(f"{case}/exponential_noise"),
    )


def test_recorded_tokens_and_remasking(golden_a: GoldenSet, case: str) -> None:
    recorded = parameters(golden_a, case)
    found = sampled_case(golden_a, case, temperature=recorded["temperature"])
    np.testing.assert_array_equal(found["sampled"][:, 0], golden_a.array(f"{case}/tokens"))
    remask = golden_a.array(f"{case}/remask")
    np.testing.assert_array_equal(found["next_mask"][:, 0], remask)
    np.testing.assert_array_equal(found["next_codes"][:, 0] == 96, remask)
    uniform = golden_a.tensor(f"{case}/uniform_noise")
    gumbel = -torch.log(-torch.log(uniform))
    probabilities = golden_a.tensor(f"{case}/token_probs")
    expected = probabilities.log() + recorded["remask_temperature"] * gumbel
    assert_within(found["confidence"], expected, FLOAT_TOLERANCE)


def test_recorded_tokens_after_filters(golden_a: GoldenSet, case: str) -> None:
    recorded = parameters(golden_a, case)
    corrected = {"mode": Mode.CORRECTED, "temperature": recorded["filters_temperature"]}
    for name, choice in (
        ("top_k_5_tokens", {"top_k": recorded["top_k"]}),
        ("top_p_06_tokens", {"top_p": recorded["top_p"]}),
    ):
        found = sampled_case(golden_a, case, **corrected, **choice)
        np.testing.assert_array_equal(found["sampled"][:, 0], golden_a.array(f"{case}/{name}"))


def test_recorded_typical_filters(golden_a: GoldenSet, case: str) -> None:
    noise = golden_a.tensor(f"{case}/exponential_noise")
    for name, mass, least in (
        ("typical_filtered", 0.15, 8),
        ("typical_filtered_mass_09", 0.9, 1),
        ("typical_filtered_mass_03", 0.3, 2),
    ):
        found = sampled_case(
            golden_a,
            case,
            mode=Mode.CORRECTED,
            typical_filtering=True,
            typical_mass=mass,
            typical_min_tokens=least,
        )
        filtered = golden_a.tensor(f"{case}/{name}")
        expected, _ = sampling.sample_from_logits(filtered, noise, temperature=1.0)
        np.testing.assert_array_equal(found["sampled"][:, 0], expected)


@cache
def exact_counts() -> Run:
    return run_sampler(3)


@settings(max_examples=100, deadline=None)
@given(
    steps=st.sampled_from([1, 2, 3, 4, 5, 6, 10, 12, 36]),
    at_start=st.integers(1, 40000),
    masked=st.integers(1, 40),
    data=st.data(),
)
def test_the_schedule_counts_as_published(
    steps: int, at_start: int, masked: int, data: st.DataObject
) -> None:
    """The count is seen in how many of 40 codes are masked again."""
    step = data.draw(st.integers(0, steps - 1))
    codes = np.full((1, 1, 40), 3)
    codes[..., masked:] = 0
    uniform = np.linspace(0.1, 0.9, 40, dtype=np.float32)[None]
    found = step_with(
        exact_counts(),
        np.zeros((1, 3, 40), np.float32),
        codes,
        generation_settings(steps=steps),
        step,
        at_start=np.array([at_start]),
        exponential=np.ones((40, 3), np.float32),
        uniform=uniform,
    )
    count = sampling.count_to_mask(
        step, steps, torch.tensor(at_start), torch.tensor([masked])
    ).item()
    assert found["next_mask"].sum() == min(count, masked, 39)


def counts(cosine: torch.Tensor, at_start: torch.Tensor) -> torch.Tensor:
    return torch.floor(cosine * at_start).long()


def test_counts_differ_by_one_at_most_and_hardly_ever() -> None:
    """Torch's float32 cosine is one rounding off at one ratio in twenty, the graph's at none.

    That moves the count of one clip length in a hundred thousand, by one.
    """
    at_start = torch.arange(1, 4001)
    differing = total = 0
    for steps in range(1, 33):
        for step in range(steps):
            ratio = sampling.step_ratio(step, steps)
            drawn = torch.cos((ratio * np.pi / 2).double()).float().clamp(1e-10, 1.0)
            change = counts(drawn, at_start) - counts(sampling.gamma(ratio), at_start)
            assert change.abs().max() <= 1
            differing += int((change != 0).sum())
            total += len(at_start)
    assert differing / total < 2e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 10, 12, 36])
def test_usual_numbers_of_steps_count_as_published_at_any_length(steps: int) -> None:
    at_start = torch.arange(1, 40001)
    for step in range(steps):
        ratio = sampling.step_ratio(step, steps)
        drawn = torch.cos((ratio * np.pi / 2).double()).float().clamp(1e-10, 1.0)
        expected = counts(sampling.gamma(ratio), at_start)
        assert torch.equal(counts(drawn, at_start), expected), step


def test_the_cosine_is_float64s_rounded_at_every_ratio_of_1000_steps() -> None:
    """Built without ``Cos``: of multiplications and additions alone."""
    shape = signature("ratio", "float32", "ratios"), signature("cosine", "float32", "ratios")
    builder = GraphBuilder()
    built = exported.cosine_schedule(builder, builder.input(shape[0]))
    model = builder.finish(shape[1:], {"cosine": built}, 18)
    assert {node.op_type for node in model.graph} == {
        *("Add", "Mul", "Div", "Cast", "Max", "Min", "Identity")
    }
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    ratios = np.concatenate(
        [
            (np.arange(1, steps + 1) / np.float32(steps)).astype(np.float32)
            for steps in range(1, 1001)
        ]
    )
    (found,) = session.run(None, {"ratio": ratios})
    angle = ratios * np.float32(np.pi) / np.float32(2)
    expected = np.cos(angle.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(found, np.clip(expected, np.float32(1e-10), 1))


choices = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 8),
        "temperature": st.sampled_from([0.0, 0.5, 1.0, 1.7]),
        # At 0 the toy model's equal contexts are within a rounding of a tie.
        "mask_temperature": st.sampled_from([0.5, 2.0, 10.5]),
        "sample_cutoff": st.sampled_from([-1.0, 0.3, 0.5, 1.0]),
        "typical_filtering": st.booleans(),
        "typical_mass": st.sampled_from([0.15, 0.6, 1.0]),
        "typical_min_tokens": st.integers(1, 15),
        "top_k": st.none() | st.integers(1, 20),
        "top_p": st.none() | st.sampled_from([0.0, 0.4, 0.9, 1.0]),
        "mode": st.sampled_from(Mode),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    given_books=st.integers(0, 2),
    frames=st.integers(1, 12),
    chosen=choices,
    portion=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_any_generation_is_that_of_the_reference(
    batch: int,
    given_books: int,
    frames: int,
    chosen: dict[str, object],
    portion: float,
    seed: int,
) -> None:
    model = toy_model(n_conditioning=given_books, entries=12)
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 12, (batch, 3, frames), generator=draw)
    mask = (torch.rand(codes.shape, generator=draw) < portion).long()
    picked = generation_settings(**chosen)
    expected = generate(model, codes, mask, settings=picked, noise=TorchNoise(seed))
    if picked.mode is Mode.CORRECTED:
        mask = codebook_unmask(mask, given_books)
    found = generate_onnx(model, run_sampler(12), codes, mask, picked, TorchNoise(seed))
    np.testing.assert_array_equal(found, expected)


def test_argmax_steps_read_no_noise_and_drawing_ones_insist_on_it() -> None:
    chosen = generation_settings(steps=4, sample_cutoff=0.0)
    logits, codes = logits_of(1, 12, 6).numpy(), np.full((1, 2, 3), 12)
    uniform = np.full((1, 6), 0.5, np.float32)
    given_ = {"at_start": np.array([6]), "exponential": None, "uniform": uniform}
    found = step_with(run_sampler(), logits, codes, chosen, 1, **given_)
    best = logits.argmax(1).reshape(1, 3, 2).transpose(0, 2, 1)
    np.testing.assert_array_equal(found["sampled"], best)
    with pytest.raises(Exception, match=r"(?i)reshape"):
        step_with(run_sampler(), logits, codes, chosen, 0, **given_)


@pytest.mark.parametrize("positions", [5, 16, 17, 31, 54])
def test_equal_probabilities_stay_equal_wherever_they_stand(positions: int) -> None:
    """Without noise, codes of equal probability are settled together or not at all."""
    logits = np.repeat(logits_of(1, 12, 1).numpy(), positions, axis=2)
    found = step_with(
        run_sampler(),
        logits,
        np.full((1, 1, positions), 12),
        generation_settings(mask_temperature=0.0),
        3,
        at_start=np.array([positions]),
        exponential=np.ones((positions, 12), np.float32),
        uniform=np.linspace(0.1, 0.9, positions, dtype=np.float32)[None],
    )
    assert len(np.unique(found["confidence"])) == 1
    assert not found["next_mask"].any()


def test_confidence_is_zero_where_nothing_was_masked() -> None:
    codes = np.array([[[3, 12, 4]]])
    found = step_with(
        run_sampler(),
        logits_of(1, 12, 3).numpy(),
        codes,
        generation_settings(),
        3,
        at_start=np.array([1]),
        exponential=np.ones((3, 12), np.float32),
        uniform=np.full((1, 3), 0.4, np.float32),
    )
    assert found["confidence"][0, [0, 2]].tolist() == [0, 0] and found["confidence"][0, 1]


def test_every_dimension_but_the_vocabulary_is_free() -> None:
    component = sampler(CodecDims(4, (2,), 8, (2,), 3, 77, (6, 6, 6), 8000))
    fixed = {a for item in component.inputs for a in item.shape if isinstance(a, int)}
    assert fixed == {77}


# A broken sampler is caught by the gates of the main job.


def _rounded_otherwise(g: Any, ratio: Any) -> Any:
    return _SCHEDULE(g, ratio - 6e-8)


def _late_ratio(given_: Any) -> Any:
    return _RATIO({**given_, "step": given_["step"] - 1})


def _without_gumbel(given_: Any, ratio: Any, probability: Any) -> Any:
    return probability.op("Log") + ratio * 0.0


def _constant_temperature(given_: Any, ratio: Any, probability: Any) -> Any:
    return _CONFIDENCE(given_, ratio * 0.0, probability)


def _surest(confidence: Any, count: Any) -> Any:
    return _LEAST(-confidence, count)


def _no_temperature(g: Any, logits: Any, given_: Any) -> Any:
    return _DRAWN(g, logits, {**given_, "temperature": g.constant(1.0, np.float32)})


def _always_drawing(g: Any, logits: Any, given_: Any) -> Any:
    return _DRAWN(g, logits, {**given_, "sample_cutoff": g.constant(-1.0, np.float64)})


def _one_more(g: Any, given_: Any, ratio: Any, masked: Any) -> Any:
    return _COUNT(g, given_, ratio, masked) + 1


def _no_filter(g: Any, logits: Any, *_: Any) -> Any:
    return logits


def _narrow_nucleus(g: Any, logits: Any, p: Any) -> Any:
    return _TOP_P(g, logits, p * 0.9)


_SCHEDULE, _RATIO = exported.cosine_schedule, exported._ratio
_CONFIDENCE, _LEAST = exported._confidence, exported._least_certain
_DRAWN, _TOP_P = exported._drawn, exported._keep_top_p
_COUNT = exported._count

BROKEN: dict[str, tuple[str, Callable[..., Any]]] = {
    "a ratio one rounding off": ("cosine_schedule", _rounded_otherwise),
    "a step late": ("_ratio", _late_ratio),
    "no noise in the remasking": ("_confidence", _without_gumbel),
    "noise that does not fade": ("_confidence", _constant_temperature),
    "the surest masked again": ("_least_certain", _surest),
    "one more masked again": ("_count", _one_more),
    "no temperature": ("_drawn", _no_temperature),
    "argmax at every step": ("_drawn", _always_drawing),
    "no typical filter": ("_keep_typical", _no_filter),
    "no top-p": ("_keep_top_p", _no_filter),
    "a narrower nucleus": ("_keep_top_p", _narrow_nucleus),
    "no top-k": ("_keep_top_k", lambda logits, _k: logits),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_sampler_fails_its_gates(
    golden_a: GoldenSet, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(exported, *BROKEN[name])
    component = sampler(golden_a.models.codec.dims)
    assert failed_gates(verified(component, golden_a.models))


@pytest.mark.parametrize("name", ["next_codes", "next_mask", "sampled", "confidence"])
def test_one_wrong_number_fails_the_gates(golden_a: GoldenSet, name: str) -> None:
    component = sampler(golden_a.models.codec.dims)
    run = run_component(component)

    def wrong(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = run(inputs)
        flat = found[name].reshape(-1)
        flat[0] = (flat[0] + 1) % 2 if name == "next_mask" else flat[0] + 1
        return found

    assert failed_gates(verified(component, golden_a.models, wrong))


def test_the_whole_one_passes_every_gate(golden: GoldenSet) -> None:
    component = sampler(golden.models.codec.dims)
    assert not failed_gates(verified(component, golden.models))


def test_no_sorting_outside_of_the_branches_but_of_the_confidence() -> None:
    """Sorting a vocabulary for every code costs several times the rest of a step."""
    model = proto("sampler")
    assert [n.op_type for n in model.graph.node].count("TopK") == 1
    assert [n.op_type for n in all_nodes(model.graph)].count("TopK") == 4
