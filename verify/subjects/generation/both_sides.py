"""Whole generations on both sides with the same noise, every step of them kept.

The reference is `models.behaviour.interface.vamp` in PyTorch, the export is the pipeline on
the artifacts.  Both take their noise from the same seed of `pipeline.steps.noise.PhiloxNoise`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.configs.settings import GenerationSettings, VampSettings
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour import interface, sampling
from vampnet_onnx.models.behaviour.generate import TokenModel, count_at_start, token_model
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.steps.variation import vamp
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.session import Graph
from vampnet_onnx.verify.subjects.case import (
    Arrays,
    Computed,
    OpenComponent,
    Outputs,
    RunExport,
)
from vampnet_onnx.verify.subjects.codec import codec_of
from vampnet_onnx.verify.subjects.decisions import Decisions
from vampnet_onnx.verify.subjects.sampler import sampling_margins

from .plan import NOWHERE, Step, codec_facts, options, steps_of


def exported_generation(
    artifacts: Artifacts,
    record: ComponentRecord,
    *,
    adapters: Sequence[AdapterRecord] = (),
    runtime: Runtime | None = None,
    opened_by: OpenComponent | None = None,
) -> RunExport:
    """Return what generates on opened artifacts; inputs and outputs as `run_generation`.

    Args:
        opened_by: opens components in the place of the runtime.
    """
    pipeline = VampPipeline(artifacts, runtime, opened_by=opened_by)
    parts = pipeline.components
    parts.use_adapters(adapters)

    def run(inputs: Outputs) -> Arrays:
        settings = _options(inputs, record)
        watched = _WatchedSampler(parts.session("sampler"))
        made = vamp(
            inputs["codes"],
            inputs["mask"],
            coarse=parts.transformer("coarse"),
            c2f=parts.transformer("c2f") if record.dim("n_fine", least=0) else None,
            sampler=watched,
            codec=parts.codec,
            settings=settings,
            noise=PhiloxNoise(int(inputs["seed"])),
        )
        tokens, plan = made.tokens, steps_of(record, settings, made.tokens.shape[-1])
        of_steps = {
            name: _laid_out([out[name] for out in watched.made], plan, tokens)
            for name in ("sampled", "next_codes")
        }
        return {"tokens": tokens, "audio": pipeline.decode(tokens), **of_steps}

    return run


def run_generation(record: ComponentRecord, inputs: Outputs, models: ModelSet) -> Computed:
    """Generate with the reference.

    Args:
        models: with codec, coarse and, where the record has fine codes, c2f.

    Returns:
        ``tokens`` (int64 [B, C, T]), ``audio`` (float32 [B, 1, samples]), and what every step
        sampled and handed on, ``sampled`` and ``next_codes`` (int64 [S, B, C, T], `NOWHERE`
        outside of the step's codes).  Margins are float64 [4, S, B, C, T]: of the draw and of
        the remasking in nats, and the largest logit (over the temperature) and the largest
        confidence of the step, which say how much of them is rounding.

    Raises:
        FloatingPointError: a model gives logits that are not finite.
    """
    codec = codec_of(models)
    settings = _options(inputs, record)
    noise, log = TorchPhilox(int(inputs["seed"])), list[Seen]()

    def of(name: str) -> TokenModel:
        model = token_model(name, models.transformers[name], codec.quantizer)
        return watched(model, log)

    made = interface.vamp(
        torch.from_numpy(inputs["codes"]),
        torch.from_numpy(inputs["mask"]),
        coarse=of("coarse"),
        c2f=of("c2f") if record.dim("n_fine", least=0) else None,
        dims=codec.dims,
        settings=settings,
        noise=noise,
        on_step=lambda _step, result: log[-1].keep(result, noise.last),
    )
    tokens = made.tokens.numpy()
    plan = steps_of(record, settings, tokens.shape[-1])
    sampled = [required(seen).sampled.numpy() for seen in log]
    handed_on = [required(seen).codes.numpy() for seen in log]
    chosen = [settings.coarse if s.component == "coarse" else settings.c2f for s in plan]
    found, decisions = margins_of(log, chosen, [step.number for step in plan])
    return Computed(
        {
            "tokens": tokens,
            "audio": codec.decode_requantised(made.tokens).numpy(),
            "sampled": _laid_out(sampled, plan, tokens),
            "next_codes": _laid_out(handed_on, plan, tokens),
        },
        np.stack([_laid_out(part, plan, tokens, np.inf) for part in found]),
        decisions=decisions,
    )


@dataclass
class Seen:
    """One step of the reference.

    Attributes:
        codes: that it saw, int64 [B, C, T].
        logits: that it gave, float32 [B, V, T * P].
        exponential: noise of the draw; None where the argmax was taken.
    """

    model: TokenModel
    codes: Tensor
    logits: Tensor
    result: sampling.StepResult | None = None
    exponential: Tensor | None = None

    def keep(self, result: sampling.StepResult, exponential: Tensor | None) -> None:
        """Note what became of it."""
        self.result, self.exponential = result, exponential


class Margins(NamedTuple):
    """By step, each float64 [B, P, T]."""

    drawing: list[np.ndarray]
    remasking: list[np.ndarray]
    logits: list[np.ndarray]
    confidence: list[np.ndarray]


@dataclass
class _WatchedSampler:
    """The sampler's graph, and all it has given."""

    graph: Graph
    made: list[Arrays] = field(default_factory=list)

    def run(self, inputs: Outputs) -> Arrays:
        self.made.append(self.graph.run(inputs))
        return self.made[-1]


class TorchPhilox:
    """The pipeline's noise for PyTorch; `last` is that of the last draw, if there was one."""

    def __init__(self, seed: int, place: int = 0) -> None:
        """Begin where so many words of the seed's stream are taken."""
        self._noise = PhiloxNoise(seed)
        self._noise.move_to(place)
        self._drawn: Tensor | None = None
        self.last: Tensor | None = None

    @property
    def place(self) -> int:
        """How many words are taken."""
        return self._noise.place

    def exponential(self, shape: tuple[int, ...]) -> Tensor:
        """Return the noise of a draw."""
        self._drawn = torch.from_numpy(self._noise.exponential(shape))
        return self._drawn

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Return the noise of a remasking, which a step asks for once, and last."""
        self.last, self._drawn = self._drawn, None
        return torch.from_numpy(self._noise.uniform(shape))

    def restart(self) -> None:
        """Go back to the first word."""
        self._noise.restart()


def _options(inputs: Outputs, record: ComponentRecord) -> VampSettings:
    return options(int(inputs["setting"]), len(inputs["codes"]), codec_facts(record))


def watched(model: TokenModel, log: list[Seen]) -> TokenModel:
    """Return the model, noting what it sees and gives."""

    def logits(codes: Tensor) -> Tensor:
        log.append(Seen(model, codes, model.logits(codes)))
        return log[-1].logits

    return replace(model, logits=logits)


def required(seen: Seen) -> sampling.StepResult:
    """Return what a step gave."""
    assert seen.result is not None, "a step that gave logits and sampled nothing"
    return seen.result


def margins_of(
    log: Sequence[Seen], settings: Sequence[GenerationSettings], numbers: Sequence[int]
) -> tuple[Margins, list[Decisions]]:
    """Return how far every step was from deciding otherwise, and what it decided by.

    Args:
        settings: of each step; `numbers` are those of the steps in their generations.
    """
    found, decisions = Margins([], [], [], []), list[Decisions]()
    at_start = torch.zeros(())
    for seen, chosen, number in zip(log, settings, numbers, strict=True):
        model, result = seen.model, required(seen)
        predicted = seen.codes[:, model.n_conditioning_codebooks :]
        if number == 0:
            at_start = count_at_start(seen.codes, predicted, model.mask_token, chosen.mode)
        (drawing, remasking), decided = sampling_margins(
            seen.logits,
            predicted,
            result,
            step=number,
            at_start=at_start,
            mask_token=model.mask_token,
            settings=chosen,
            exponential=seen.exponential,
        )
        decisions.append(decided)
        if seen.exponential is None:
            best = seen.logits.transpose(1, 2).topk(2, dim=-1).values
            drawing = np.minimum(drawing, (best[..., 0] - best[..., 1]).double().numpy())
        confidence = result.confidence[torch.isfinite(result.confidence)]
        shape = result.sampled.shape
        found.drawing.append(_unflattened(drawing, shape))
        found.remasking.append(_unflattened(remasking, shape))
        largest = float(seen.logits.abs().max()) / _temperature(chosen, seen.exponential)
        found.logits.append(np.full(shape, largest))
        found.confidence.append(
            np.full(shape, float(confidence.abs().max()) if confidence.numel() else 0.0)
        )
    return found, decisions


def _temperature(settings: GenerationSettings, exponential: Tensor | None) -> float:
    """Return what the logits are divided by where codes are chosen."""
    drawn = exponential is not None and settings.temperature > 0
    return min(settings.temperature, 1.0) if drawn else 1.0


def _unflattened(flat: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return [B, N], time-major and codebook-minor, as [B, P, T]."""
    batch, books, frames = shape
    return flat.reshape(batch, frames, books).transpose(0, 2, 1)


def _laid_out(
    steps: Sequence[np.ndarray],
    plan: Sequence[Step],
    tokens: np.ndarray,
    empty: float = NOWHERE,
) -> np.ndarray:
    """Put what steps made ([B, P, chunk] each) where it belongs: [S, *tokens.shape].

    The last chunk of the fine codes is filled up; what is made there belongs nowhere.
    """
    kind = np.float64 if empty != NOWHERE else np.int64
    found = np.full((len(plan), *tokens.shape), empty, kind)
    for i, (made, step) in enumerate(zip(steps, plan, strict=True)):
        frames = step.stop - step.start
        books = slice(step.first_codebook, step.last_codebook)
        found[i, :, books, step.start : step.stop] = made[..., :frames]
    return found
