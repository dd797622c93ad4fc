"""Our models held to a recorded set: what they compute for every kind of case."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vampnet_onnx.configs.settings import mask_settings
from vampnet_onnx.models import LAC, ModelSet, open_models
from vampnet_onnx.models.behaviour import audio, interface, masks, sampling
from vampnet_onnx.models.behaviour.generate import TokenModel, generate, token_model
from vampnet_onnx.models.behaviour.mask_plan import build_mask
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.verify.sides.recorded import RecordedSet

from .check import Computed, Run, ours

# The first sets leave these minima out of their parameters.
_UNRECORDED_MINIMA = {"typical_filtered_mass_09": 1, "typical_filtered_mass_03": 2}


class ModelRun(Run):
    """The models of a set's own checkpoints, held to it."""

    whole = True

    def __init__(self, folder: Path) -> None:
        """Open a set and its checkpoints.

        Raises:
            InputError: no set, or a damaged one.
        """
        super().__init__(RecordedSet(folder))
        self.models: ModelSet = open_models(folder)

    @property
    def codec(self) -> LAC:
        """The set's codec."""
        assert self.models.codec is not None, "the set has no codec.pth"
        return self.models.codec

    def tensor(self, key: str) -> Tensor:
        """Return a recorded array as a tensor."""
        return torch.from_numpy(self.array(key))

    def token_model(self, name: str) -> TokenModel:
        """Return a transformer ready to generate."""
        return token_model(name, self.models.transformers[name], self.codec.quantizer)


def _encode(run: ModelRun, case: str) -> Computed:
    samples = run.tensor(f"{case}/audio")
    encoded = run.codec.encode(samples)
    yield "z_continuous", run.codec.encoder(run.codec.pad(samples))
    yield "latents", encoded.latents
    yield "z_quantized", encoded.z
    yield "codes", encoded.codes


def _decode(run: ModelRun, case: str) -> Computed:
    codes = run.tensor(f"{case}/codes")
    found = run.codec.quantizer.from_codes(codes)
    yield "z_quantized", found.z
    yield "latents", found.latents
    yield "audio", run.codec.decode_codes(codes)
    yield from _decode_masked(run, case)


def _decode_masked(run: ModelRun, case: str) -> Computed:
    found = run.codec.decode_requantised(run.tensor(f"{case}/codes"))
    yield "audio_by_interface", found


def _transformer(run: ModelRun, case: str) -> Computed:
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
    yield "latents", latents
    yield "logits", logits
    yield "activations", torch.stack(outputs)


def _masks(run: ModelRun, case: str) -> Computed:
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
            yield name, makers[parsed[1]](*numbers), "mask"


def _onset_mask(run: ModelRun, case: str) -> Computed:
    dims = run.codec.dims
    samples = run.tensor(f"{case}/audio")
    onsets = masks.onset_frames(samples, dims.sample_rate, dims.hop_length)
    found = masks.onset_mask(run.tensor(f"{case}/z"), onsets, run.options(case)["width"])
    yield "mask", found


def _seeded_masks(run: ModelRun, case: str) -> Computed:
    codes = run.tensor("masks/z")
    for name, recorded in run.options("seeded_masks").items():
        given = ours(recorded)
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
            found = build_mask(codes, options, run.codec.dims, generator=draw)
        else:
            continue
        yield name, found, "mask"


def _preprocess(run: ModelRun, case: str) -> Computed:
    samples, rate = run.tensor(f"{case}/audio"), int(run.array(f"{case}/sample_rate"))
    measured = audio.loudness(samples, rate)
    yield "input_loudness", measured
    yield "output", audio.preprocess(samples, rate, run.codec.dims)


def _sampling(run: ModelRun, case: str) -> Computed:
    given, logits = run.options(case), run.tensor(f"{case}/logits")
    exponential = run.tensor(f"{case}/exponential_noise")
    uniform = run.tensor(f"{case}/uniform_noise")
    drawn = TorchNoise(given["seed"]).exponential(tuple(exponential.shape))
    yield "exponential_noise", drawn
    drawn = TorchNoise(given["seed"]).uniform(tuple(uniform.shape))
    yield "uniform_noise", drawn
    tokens, probabilities = sampling.sample_from_logits(
        logits, exponential, temperature=given["temperature"]
    )
    yield "tokens", tokens
    yield "token_probs", probabilities
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
            yield name, filtered, "filtered_tokens"
        elif name.startswith("typical_filtered"):
            mass, least = _typical_options(name, given)
            kept = sampling.keep_typical(logits, mass, least)
            yield name, kept, "typical_filtered"
    remasked = sampling.mask_by_random_topk(
        run.tensor(f"{case}/num_to_mask")[:, 0],
        run.tensor(f"{case}/token_probs"),
        torch.tensor(given["remask_temperature"]),
        uniform,
    )
    yield "remask", remasked


def _typical_options(name: str, given: dict[str, Any]) -> tuple[float, int]:
    """Return mass and minimum: recorded by name, or the mass in the name itself."""
    recorded = given["typical"] if name == "typical_filtered" else given.get(name)
    if recorded is not None:
        return recorded["mass"], recorded["min_tokens"]
    return int(name.rpartition("_")[2]) / 10, _UNRECORDED_MINIMA[name]


def _generate(run: ModelRun, case: str) -> Computed:
    seed, settings = run.generate_options(case)
    mask = run.tensor(f"{case}/mask") if f"{case}/mask" in run.recorded else None
    tokens = generate(
        run.token_model(case.split("/")[0].removeprefix("generate_")),
        run.tensor(f"{case}/start_tokens"),
        mask,
        settings=settings,
        noise=TorchNoise(seed),
    )
    yield "tokens", tokens


def _vamp(run: ModelRun, case: str) -> Computed:
    rate, (seed, settings) = run.options(case)["sample_rate"], run.vamp_options(case)
    yield "codes", interface.encode(run.tensor(f"{case}/audio"), rate, run.codec)
    made = interface.vamp(
        run.tensor(f"{case}/codes"),
        run.tensor(f"{case}/mask"),
        coarse=run.token_model("coarse"),
        c2f=run.token_model("c2f"),
        dims=run.codec.dims,
        settings=settings,
        noise=TorchNoise(seed),
    )
    yield "tokens", made.tokens
    yield "masked_tokens", made.masked_tokens
    decoded = run.codec.decode_requantised(made.tokens)
    yield "output_audio", decoded


ModelRun.kinds = {
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
