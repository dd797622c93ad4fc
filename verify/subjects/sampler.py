"""The sampler: one step from logits to codes and to what is masked again.

Its margins are how far the reference was from deciding otherwise: between its two best
entries, at the edge of a filter, and at the edge of what is masked again.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.settings import GenerationSettings, Mode, generation_settings
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour import sampling
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.numbers.ties import TokenDifferences, margin_words

from .case import (
    Arrays,
    Case,
    Comparison,
    Computed,
    Outputs,
    Subject,
    every_setting,
    no_ties,
    token_counts,
    token_metrics,
)
from .decisions import Decisions
from .random import Random


class Sampler(Subject):
    """Given the same noise, every token is equal but for ties."""

    names = ("sampler",)
    has_rounding = False  # it has no weights
    settings = (
        "argmax",
        "thirds",
        "top_p",
        "top_k",
        "typical",
        "all_filters",
        "last_step",
        "few_masked",
        "cold",
        "plain",
        "tied",
    )

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Try every setting at every length and seed, batches in turn."""
        return every_setting(self, record, matrix)

    def codebooks(self, record: ComponentRecord) -> tuple[int]:
        """Return about as many as a coarse model predicts: the cost goes with their number."""
        return (1 + record.dim("n_codebooks") // 4,)

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make logits, codes, every option and the noise."""
        random, setting = Random(case.id), case.setting
        vocab = record.dim("codebook_size")
        shape = (case.batch, case.codebooks, case.length)
        batch, books, frames = shape
        positions = books * frames
        steps = 3 if setting == "thirds" else int(random.integers((), 10)) + 3
        share = {"few_masked": np.float32(0.02), "last_step": np.float32(0.1)}
        masked = random.unit(shape) < share.get(setting, np.float32(0.8))
        masked[0, 0, 0] |= setting == "tied"
        codes = np.where(masked, vocab, random.integers(shape, vocab))
        filters = {
            "top_p": setting in ("top_p", "all_filters"),
            "top_k": setting in ("top_k", "all_filters"),
            "typical": setting in ("typical", "all_filters"),
        }
        draws = setting != "argmax"
        # At the start more was masked than is now; at two thirds of an even number the
        # schedule is one rounding below the half of it.
        at_start = masked.sum(axis=(1, 2)) + random.integers((batch,), positions)
        at_start += at_start % 2 if setting == "thirds" else 0
        found: dict[str, Any] = {
            "logits": (random.unit((batch, vocab, positions)) - np.float32(0.5))
            * np.float32(16),
            "codes": codes,
            "step": np.int64(steps - 1 if setting == "last_step" else steps // 3),
            "steps": np.int64(steps),
            "at_start": at_start,
            "temperature": np.float32(0.5 if setting == "cold" else 1.0),
            "mask_temperature": np.float32(0.0 if setting == "cold" else 10.5),
            "sample_cutoff": np.float64(1.0 if draws else 0.1),
            "top_k": np.int64(1 + vocab // 8 if filters["top_k"] else 0),
            "top_p": np.float32(0.8 if filters["top_p"] else 1.0),
            "typical_filtering": np.bool_(filters["typical"]),
            "typical_mass": np.float32(0.6 if setting == "all_filters" else 0.4),
            "typical_min_tokens": np.int64(
                1 + vocab // (4 if setting == "all_filters" else 16)
            ),
            "exponential": _open_unit(random, (batch * positions if draws else 0, vocab)),
            "uniform": _open_unit(random, (batch, positions)),
        }
        if setting == "tied" and positions > 1:
            _tie(found)
        return {name: np.asarray(value) for name, value in found.items()}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Sample, with margins, float [2, batch, positions]; see `sampling_margins`."""
        mask_token = record.dim("codebook_size")
        # In this mode every option of the graph has its effect.
        settings, step = settings_of(inputs, mode=Mode.CORRECTED), int(inputs["step"])
        logits, codes = torch.from_numpy(inputs["logits"]), torch.from_numpy(inputs["codes"])
        at_start = torch.from_numpy(inputs["at_start"])
        draws = sampling.draws_tokens(step, settings)
        exponential = torch.from_numpy(inputs["exponential"]) if draws else None
        result = sampling.sampling_step(
            logits,
            codes,
            step=step,
            at_start=at_start,
            mask_token=mask_token,
            settings=settings,
            exponential=exponential,
            uniform=torch.from_numpy(inputs["uniform"]),
        )
        masked = sampling.flatten_codes(codes) == mask_token
        again = (result.codes == mask_token).long()
        margins, decisions = sampling_margins(
            logits,
            codes,
            result,
            step=step,
            at_start=at_start,
            mask_token=mask_token,
            settings=settings,
            exponential=exponential,
        )
        confidence = torch.where(masked, result.confidence, 0.0)
        return Computed(
            {
                "next_codes": result.codes.numpy(),
                "next_mask": again.numpy(),
                "sampled": result.sampled.numpy(),
                "confidence": confidence.numpy(),
            },
            margins,
            decisions=(decisions,),
        )

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare tokens and what is masked again, and confidence where it must be equal."""
        wanted = expected.outputs
        batch, books, frames = wanted["sampled"].shape
        margins = no_ties((2, batch, frames * books))
        drawing, remasking = margins if expected.margins is None else expected.margins

        def flat(codes: np.ndarray) -> np.ndarray:
            return codes.transpose(0, 2, 1).reshape(batch, -1)

        r, e = wanted["confidence"], export["confidence"]
        # Where a filter or a draw was a tie, another entry has another confidence.
        uncertain = drawing < ties.draws_margin
        drawn = flat(wanted["sampled"] != export["sampled"])
        near = np.ones_like(drawn)
        if drawn.any():
            for decisions in expected.decisions:
                near = flat(decisions.could_draw(export["sampled"], ties.draws_margin))
        other = uncertain & np.where(drawn, near, np.abs(e - r) > ties.draws_margin)
        masked = flat(wanted["next_mask"] != export["next_mask"])
        largest = ties.draws_margin * np.abs(r).max(axis=1, keepdims=True)
        tied, excused = remasking < largest, other
        for decisions in expected.decisions:
            # Another confidence moves the edge of what is masked again by a place.
            excused = other | (decisions.remasking(other.sum(axis=1)) < largest)
        wrong = (drawn & ~(uncertain & near)) | (masked & ~tied & ~excused)
        # The next codes are what was drawn and what is masked again, and nothing else.
        mask_token = record.dim("codebook_size")
        made = np.where(export["next_mask"] == 1, mask_token, export["sampled"])
        wrong |= flat(export["next_codes"] != made)
        found = TokenDifferences(
            unexplained=wrong,
            ambiguous=(drawn | (masked & tied)) & ~wrong,
            knock_on=masked & excused & ~tied & ~wrong,
        )
        compared = ~uncertain
        return Comparison(
            metrics={
                **metrics.float_metrics(r[compared], e[compared]),
                **metrics.nonfinite(r, e),
                **token_metrics(found),
            },
            quantity="confidence",
            error=np.abs(e.astype(np.float64) - r).max(axis=0).reshape(frames, books).T,
            rows=[f"predicted codebook {i}" for i in range(books)],
            unit="frames",
            reference=r[compared],
            export=e[compared],
            tokens=token_counts(
                found.any.reshape(batch, frames, books).transpose(2, 0, 1), found.ambiguous
            ),
            message=_sampler_message(wrong, drawn, drawing, remasking, r, e),
        )


SUBJECTS = (Sampler(),)


def sampling_margins(
    logits: Tensor,
    codes: Tensor,
    result: sampling.StepResult,
    *,
    step: int,
    at_start: Tensor,
    mask_token: int,
    settings: GenerationSettings,
    exponential: Tensor | None,
) -> tuple[np.ndarray, Decisions]:
    """Return how far a sampling step was from deciding otherwise, and what it decided by.

    Args:
        logits: float32 [B, V, N].
        codes: before the step, int64 [B, P, T].
        at_start: masked codes before the first step, int64 [B] or scalar.
        settings: filters count where the mode lets them have an effect.
        exponential: as `models.behaviour.sampling.sampling_step`.

    Returns:
        Margins, float [2, B, N]: of the drawn tokens, relative to the best score and infinite
        where the argmax is taken; of the remasking, in units of confidence.  And the decisions
        themselves, which tell of any other token how good it would have been.
    """
    masked = sampling.flatten_codes(codes) == mask_token
    counts = _counts(step, settings, at_start, masked.sum(dim=-1))
    decisions = Decisions(logits, exponential, settings, masked, result.confidence, counts)
    drawing = torch.minimum(
        _draw_margin(logits.transpose(1, 2), exponential, settings),
        _filter_margin(logits.transpose(1, 2), settings),
    )
    remasking = decisions.remasking(np.zeros(len(codes), np.int64))
    return np.stack([drawing.numpy(), remasking]), decisions


def settings_of(inputs: Outputs, **others: Any) -> GenerationSettings:
    """Return the options that the sampler's inputs say, and others."""
    top_k, top_p = int(inputs["top_k"]), float(inputs["top_p"])
    return generation_settings(
        steps=int(inputs["steps"]),
        temperature=float(inputs["temperature"]),
        mask_temperature=float(inputs["mask_temperature"]),
        sample_cutoff=float(inputs["sample_cutoff"]),
        typical_filtering=bool(inputs["typical_filtering"]),
        typical_mass=float(inputs["typical_mass"]),
        typical_min_tokens=int(inputs["typical_min_tokens"]),
        top_k=top_k or None,
        top_p=top_p if top_p < 1 else None,
        **others,
    )


def _counts(
    step: int, settings: GenerationSettings, at_start: Tensor, masked_now: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how many codes to mask again by torch's float32 cosine and by the right one.

    Torch's is one rounding off here and there; the float64 one, rounded, is right.
    """
    ratio = sampling.step_ratio(step, settings.steps)
    rounded = torch.cos((ratio * math.pi / 2).double()).float().clamp(min=0.0)
    count = (rounded * at_start).floor().long()
    if step < settings.steps - 1:
        count = torch.minimum(masked_now - 1, count).clamp(min=1)
    published = sampling.count_to_mask(step, settings.steps, at_start, masked_now)
    return published, count.expand_as(masked_now)


def _draw_margin(
    logits: Tensor, exponential: Tensor | None, settings: GenerationSettings
) -> Tensor:
    """Return how far ahead the best entry is, relative to its score, float [B, N].

    Where the argmax is taken, both sides compare the same logits, and nothing is a tie.
    """
    if exponential is None or logits.shape[-1] < 2:
        return torch.full(logits.shape[:2], torch.inf, dtype=torch.float64)
    scores = sampling.filter_logits(logits, settings).double()
    tempered = scores / settings.temperature if settings.temperature > 0 else scores
    scores = torch.softmax(tempered, dim=-1) / exponential.view_as(scores)
    first, second = scores.topk(2, dim=-1).values.unbind(dim=-1)
    return (first - second) / first


def _filter_margin(logits: Tensor, settings: GenerationSettings) -> Tensor:
    """Return how far each position's filters were from keeping other entries, float [B, N].

    Top-k compares the logits themselves, which are the same on both sides.
    """
    margin = torch.full(logits.shape[:2], torch.inf, dtype=torch.float64)
    corrected = settings.mode is Mode.CORRECTED
    if corrected and settings.typical_filtering:
        log_p = logits.double().log_softmax(dim=-1)
        entropy = -(log_p * log_p.exp()).sum(dim=-1, keepdim=True)
        distance, order = (-log_p - entropy).abs().sort(dim=-1)
        reached = log_p.exp().gather(-1, order).cumsum(dim=-1)
        margin = (reached - settings.typical_mass).abs().amin(dim=-1)
        # Of two entries as far from the entropy, either may be the last one kept.
        last = (reached < settings.typical_mass).sum(dim=-1, keepdim=True)
        for edge in (last, last - 1):
            pair = torch.cat([edge, edge + 1], dim=-1).clamp(0, logits.shape[-1] - 1)
            gap = distance.gather(-1, pair).diff(dim=-1)[..., 0]
            gap = torch.where(pair[..., 0] < pair[..., 1], gap, torch.inf)
            margin = torch.minimum(margin, gap)
        logits = sampling.keep_typical(
            logits, settings.typical_mass, settings.typical_min_tokens
        )
    if corrected and settings.top_k is not None:
        logits = sampling.keep_top_k(logits, settings.top_k)
    if settings.top_p is not None:
        probabilities = logits.double().softmax(dim=-1)
        beyond = probabilities.sort(dim=-1, descending=True).values.cumsum(dim=-1)
        margin = torch.minimum(margin, (beyond - settings.top_p).abs().amin(dim=-1))
    return margin


def _tie(inputs: dict[str, Any]) -> None:
    """Let two entries of the first code be as good as each other, and all others worse."""
    best = [1, 2]
    inputs["logits"][0, best, 0] = 8
    inputs["exponential"][0, best] = 2.0**-24


def _open_unit(random: Random, shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 within (0, 1), neither end included."""
    below = (1 << 24) - 1
    return ((random.integers(shape, below) + 1) / float(1 << 24)).astype(np.float32)


def _sampler_message(
    wrong: np.ndarray,
    drawn: np.ndarray,
    drawing: np.ndarray,
    remasking: np.ndarray,
    r: np.ndarray,
    e: np.ndarray,
) -> str:
    parts = [metrics.nonfinite_message(r, e)]
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        what = "token" if drawn[where] else "choice of what to mask again"
        margin = (drawing if drawn[where] else remasking)[where]
        parts.append(
            f"first unexplained {what} at item {where[0]}, position {where[1]}: confidence"
            f" {_both(r[where], e[where])}, {margin_words(margin)}"
        )
    return "; ".join(part for part in parts if part)


def _both(reference: float, export: float) -> str:
    """Write a float32 of both sides in so many digits that they differ where the two do."""
    if reference == export:
        return f"{reference:.6g} on both sides"
    digits = 6 if f"{reference:.6g}" != f"{export:.6g}" else 9
    return f"{reference:.{digits}g} against {export:.{digits}g}"
