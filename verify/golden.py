"""Our models against a recorded set: every kind of case, every recorded array.

Each kind has a function that computes what was recorded and names the recorded key and the
rule it falls under (``configs/golden.toml``).  Whatever a set holds beyond that, a kind
without a function, an array nobody computed, a case without arrays, is a finding, too.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.config import GoldenRule, load_golden_rules
from configs.errors import InputError
from models import LAC, ModelSet, audio, interface, masks, open_models, sampling
from models.generate import TokenModel, generate, token_model
from models.noise import TorchNoise
from models.settings import generation_settings, mask_settings, vamp_settings

from . import metrics
from .recorded import RecordedSet

# Our names of published options.
_OURS = {"_sampling_steps": "steps", "_dropout": "dropout", "ncc": "n_conditioning_codebooks"}

# The first sets leave these minima out of their parameters.
_UNRECORDED_MINIMA = {"typical_filtered_mass_09": 1, "typical_filtered_mass_03": 2}


@dataclass(frozen=True)
class Finding:
    """What came of one recorded array in all cases of a kind.

    Attributes:
        kind: of the cases.
        quantity: the rule's name, or of the array that has none.
        cases: how many were compared.
        worst: largest error by the rule's measure; None where nothing was measured.
        rule: measure, limit and reason; None where there is none.
        where: recorded key with the largest error.
        message: what went wrong, or why nothing was compared.
        skipped: nothing was compared, for want of an optional package.
    """

    kind: str
    quantity: str
    cases: int
    worst: float | None = None
    rule: GoldenRule | None = None
    where: str = ""
    message: str = ""
    skipped: bool = False

    @property
    def verdict(self) -> str:
        """PASS, FAIL or SKIP; NaN is within no limit."""
        if self.rule is None or self.worst is None or self.message:
            return "SKIP" if self.skipped else "FAIL"
        return "PASS" if self.worst <= self.rule.limit else "FAIL"


Computed = Iterator[tuple[str, str, Any]]


class _Run:
    """A set being checked: remembers which arrays were looked at."""

    def __init__(self, recorded: RecordedSet) -> None:
        self.recorded = recorded
        self.models: ModelSet = open_models(recorded.folder)
        self.used: set[str] = set()

    @property
    def codec(self) -> LAC:
        assert self.models.codec is not None, "the set has no codec.pth"
        return self.models.codec

    def array(self, key: str) -> np.ndarray:
        self.used.add(key)
        return self.recorded.array(key)

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.array(key))

    def names(self, case: str) -> list[str]:
        """Return the names of a case's arrays."""
        keys = (key.rpartition("/") for key in self.recorded.keys)
        return [name for found, _, name in keys if found == case]

    def options(self, case: str) -> dict[str, Any]:
        """Return a case's parameters under our names."""
        found = self.recorded.parameters.get(case)
        if not isinstance(found, dict):
            raise InputError(f"reference.json has no parameters of {case}")
        return _ours(found)

    def token_model(self, name: str) -> TokenModel:
        return token_model(name, self.models.transformers[name], self.codec.quantizer)


def check_set(
    folder: Path, *, progress: Callable[[str, int, int], None] = lambda _n, _d, _t: None
) -> list[Finding]:
    """Compare our models with a recorded set.

    Args:
        folder: of the set.
        progress: told kind, cases done and cases in all.

    Returns:
        One finding for each kind and recorded array, in the recorded order.

    Raises:
        InputError: no set, or a damaged one.
    """
    recorded = RecordedSet(folder)
    run, rules = _Run(recorded), load_golden_rules()
    findings: dict[tuple[str, str], Finding] = {}
    by_kind: dict[str, list[str]] = {}
    for case in recorded.cases:
        by_kind.setdefault(case.split("/")[0], []).append(case)
    for kind, cases in by_kind.items():
        for done, case in enumerate(cases):
            progress(kind, done, len(cases))
            for finding in _check_case(run, kind, case, rules.get(kind, {})):
                known = findings.get((kind, finding.quantity))
                findings[kind, finding.quantity] = _worse(known, finding)
        progress(kind, len(cases), len(cases))
    return [*findings.values(), *_leftovers(run, by_kind)]


def _check_case(
    run: _Run, kind: str, case: str, rules: dict[str, GoldenRule]
) -> Iterator[Finding]:
    if kind not in KINDS:
        return  # every array of it is left over
    if kind == "onset_mask" and importlib.util.find_spec("librosa") is None:
        run.used.update(f"{case}/{name}" for name in run.names(case))
        reason = "needs the package librosa, which is not installed"
        yield Finding(kind, "mask", 0, message=reason, skipped=True)
        return
    try:
        with torch.inference_mode():
            for quantity, key, found in KINDS[kind](run, case):
                rule, expected = rules.get(quantity), run.array(key)
                if rule is None:
                    yield Finding(kind, quantity, 1, where=key, message="no rule for it")
                    continue
                worst, message = metrics.by_measure(np.asarray(found), expected, rule.measure)
                yield Finding(kind, quantity, 1, worst, rule, key, message)
    except Exception as error:  # whatever a strange set makes the models stumble over
        reason = f"{type(error).__name__}: {error}"
        yield Finding(kind, "(case)", 1, where=case, message=reason)


def _worse(known: Finding | None, new: Finding) -> Finding:
    """Return the worse of two findings, counting both."""
    if known is None:
        return new

    def rank(finding: Finding) -> tuple[bool, float]:
        value = math.nan if finding.worst is None else finding.worst
        return bool(finding.message), math.inf if math.isnan(value) else value

    worst = new if rank(new) > rank(known) else known
    return replace(worst, cases=known.cases + new.cases)


def _leftovers(run: _Run, by_kind: dict[str, list[str]]) -> Iterator[Finding]:
    """Report what the set holds and nobody looked at."""
    left: dict[tuple[str, str], list[str]] = {}
    for key in run.recorded.keys:
        if key not in run.used:
            kind, name = key.split("/")[0], key.rpartition("/")[2]
            left.setdefault((kind, name if kind in KINDS else "*"), []).append(key)
    for (kind, name), keys in left.items():
        what = "this array is" if kind in KINDS else "this kind of case is"
        yield Finding(kind, name, len(keys), where=keys[0], message=f"{what} not known here")
    for case in run.recorded.parameters:
        if case not in run.recorded.cases and case != "seeded_masks":
            kind = case.split("/")[0]
            yield Finding(kind, "(case)", 1, where=case, message="it has no recorded arrays")


def _ours(options: dict[str, Any]) -> dict[str, Any]:
    return {_OURS.get(name, name): value for name, value in options.items()}


# What is computed for a case of each kind: quantity, recorded key, our value.


def _encode(run: _Run, case: str) -> Computed:
    samples = run.tensor(f"{case}/audio")
    encoded = run.codec.encode(samples)
    yield "z_continuous", f"{case}/z_continuous", run.codec.encoder(run.codec.pad(samples))
    yield "latents", f"{case}/latents", encoded.latents
    yield "z_quantized", f"{case}/z_quantized", encoded.z
    yield "codes", f"{case}/codes", encoded.codes


def _decode(run: _Run, case: str) -> Computed:
    codes = run.tensor(f"{case}/codes")
    found = run.codec.quantizer.from_codes(codes)
    yield "z_quantized", f"{case}/z_quantized", found.z
    yield "latents", f"{case}/latents", found.latents
    yield "audio", f"{case}/audio", run.codec.decode_codes(codes)
    yield from _decode_masked(run, case)


def _decode_masked(run: _Run, case: str) -> Computed:
    found = run.codec.decode_requantised(run.tensor(f"{case}/codes"))
    yield "audio_by_interface", f"{case}/audio_by_interface", found


def _transformer(run: _Run, case: str) -> Computed:
    model = run.models.transformers[case.split("/")[0]]
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs.append(output)

    latents = model.embedding.from_codes(run.tensor(f"{case}/codes"), run.codec.quantizer)
    hooks = [layer.register_forward_hook(keep) for layer in model.transformer.layers]
    try:
        logits = model(latents)
    finally:
        for hook in hooks:
            hook.remove()
    yield "latents", f"{case}/latents", latents
    yield "logits", f"{case}/logits", logits
    yield "activations", f"{case}/activations", torch.stack(outputs)


def _masks(run: _Run, case: str) -> Computed:
    codes = run.tensor(f"{case}/z")
    everything, nothing = masks.full_mask(codes), torch.zeros_like(codes)
    makers: dict[str, Callable[..., Tensor]] = {
        "inpaint": lambda *n: masks.inpaint(codes, *n),
        "periodic": lambda *n: masks.periodic_mask(codes, *n),
        "codebook_mask": lambda n: masks.codebook_mask(nothing, n),
        "codebook_unmask": lambda n: masks.codebook_unmask(everything, n),
        "time_stretch": lambda n: masks.time_stretch_mask(codes, n),
    }
    for name in run.names(case):
        parsed = re.fullmatch(r"([a-z_]+?)((?:_\d+)+)", name)
        if parsed and parsed[1] in makers:
            numbers = [int(number) for number in parsed[2][1:].split("_")]
            yield "mask", f"{case}/{name}", makers[parsed[1]](*numbers)


def _onset_mask(run: _Run, case: str) -> Computed:
    dims = run.codec.dims
    samples = run.tensor(f"{case}/audio")
    onsets = masks.onset_frames(samples, dims.sample_rate, dims.hop_length)
    found = masks.onset_mask(run.tensor(f"{case}/z"), onsets, run.options(case)["width"])
    yield "mask", f"{case}/mask", found


def _seeded_masks(run: _Run, case: str) -> Computed:
    codes = run.tensor("masks/z")
    for name, recorded in run.options("seeded_masks").items():
        given = _ours(recorded)
        draw = torch.Generator().manual_seed(int(case.split("/")[1]))
        if name.startswith("random_"):
            found = masks.random(codes, given["r"], generator=draw)
        elif name.startswith("linear_random_"):
            found = masks.linear_random(codes, given["r"], generator=draw)
        elif name.startswith("dropout_"):
            period, width = (int(n) for n in re.findall(r"\d+", given["of"]))
            periodic = masks.periodic_mask(codes, period, width, generator=draw)
            found = masks.dropout(periodic, given["p"], generator=draw)
        elif name.startswith("periodic_"):
            found = masks.periodic_mask(codes, **given, generator=draw)
        elif name.startswith("build_"):
            options = mask_settings(**given)
            found = masks.build_mask(codes, options, run.codec.dims, generator=draw)
        else:
            continue
        yield "mask", f"{case}/{name}", found


def _preprocess(run: _Run, case: str) -> Computed:
    samples, rate = run.tensor(f"{case}/audio"), int(run.array(f"{case}/sample_rate"))
    measured = audio.loudness(samples, rate)
    yield "input_loudness", f"{case}/input_loudness", measured
    yield "output", f"{case}/output", audio.preprocess(samples, rate, run.codec.dims)


def _sampling(run: _Run, case: str) -> Computed:
    given, logits = run.options(case), run.tensor(f"{case}/logits")
    exponential = run.tensor(f"{case}/exponential_noise")
    uniform = run.tensor(f"{case}/uniform_noise")
    drawn = TorchNoise(given["seed"]).exponential(tuple(exponential.shape))
    yield "exponential_noise", f"{case}/exponential_noise", drawn
    drawn = TorchNoise(given["seed"]).uniform(tuple(uniform.shape))
    yield "uniform_noise", f"{case}/uniform_noise", drawn
    tokens, probabilities = sampling.sample_from_logits(
        logits, exponential, temperature=given["temperature"]
    )
    yield "tokens", f"{case}/tokens", tokens
    yield "token_probs", f"{case}/token_probs", probabilities
    for name in run.names(case):
        if name.startswith("top_"):
            kept = (
                sampling.keep_top_k(logits, given["top_k"])
                if name.startswith("top_k_")
                else sampling.keep_top_p(logits, given["top_p"])
            )
            filtered, _ = sampling.sample_from_logits(
                kept, exponential, temperature=given["filters_temperature"]
            )
            yield "filtered_tokens", f"{case}/{name}", filtered
        elif name.startswith("typical_filtered"):
            mass, least = _typical_options(name, given)
            yield "typical_filtered", f"{case}/{name}", sampling.keep_typical(
                logits, mass, least
            )  # fmt: skip
    remasked = sampling.mask_by_random_topk(
        run.tensor(f"{case}/num_to_mask")[:, 0],
        run.tensor(f"{case}/token_probs"),
        torch.tensor(given["remask_temperature"]),
        uniform,
    )
    yield "remask", f"{case}/remask", remasked


def _typical_options(name: str, given: dict[str, Any]) -> tuple[float, int]:
    """Return mass and minimum: recorded by name, or the mass in the name itself."""
    recorded = given["typical"] if name == "typical_filtered" else given.get(name)
    if recorded is not None:
        return recorded["mass"], recorded["min_tokens"]
    return int(name.rpartition("_")[2]) / 10, _UNRECORDED_MINIMA[name]


def _generate(run: _Run, case: str) -> Computed:
    given = run.options(case)
    seed, model = given.pop("seed"), case.split("/")[0].removeprefix("generate_")
    given.pop("mask", None)
    mask = run.tensor(f"{case}/mask") if f"{case}/mask" in run.recorded else None
    tokens = generate(
        run.token_model(model),
        run.tensor(f"{case}/start_tokens"),
        mask,
        settings=generation_settings(**given),
        noise=TorchNoise(seed),
    )
    yield "tokens", f"{case}/tokens", tokens


def _vamp(run: _Run, case: str) -> Computed:
    given, header = run.options(case), run.recorded.header
    seed, rate = given.pop("seed"), given.pop("sample_rate")
    names = ("batch_size", "feedback_steps", "time_stretch_factor")
    of_vamp = {name: given.pop(name) for name in names if name in given}
    yield "codes", f"{case}/codes", interface.encode(
        run.tensor(f"{case}/audio"), rate, run.codec
    )  # fmt: skip
    made = interface.vamp(
        run.tensor(f"{case}/codes"),
        run.tensor(f"{case}/mask"),
        coarse=run.token_model("coarse"),
        c2f=run.token_model("c2f"),
        dims=run.codec.dims,
        settings=vamp_settings(
            generation_settings(**given),
            coarse_chunk_s=header["coarse_chunk_size_s"],
            c2f_chunk_s=header["c2f_chunk_size_s"],
            **of_vamp,
        ),
        noise=TorchNoise(seed),
    )
    yield "tokens", f"{case}/tokens", made.tokens
    yield "masked_tokens", f"{case}/masked_tokens", made.masked_tokens
    decoded = run.codec.decode_requantised(made.tokens)
    yield "output_audio", f"{case}/output_audio", decoded


KINDS: dict[str, Callable[[_Run, str], Computed]] = {
    "encode": _encode,
    "decode": _decode,
    "decode_masked": _decode_masked,
    "coarse": _transformer,
    "c2f": _transformer,
    "masks": _masks,
    "onset_mask": _onset_mask,
    "seeded_masks": _seeded_masks,
    "preprocess": _preprocess,
    "sampling": _sampling,
    "generate_coarse": _generate,
    "generate_c2f": _generate,
    "vamp": _vamp,
}
