"""Variations of codes on the artifacts: coarse generation in chunks, then coarse to fine.

Published as ``vampnet.interface.Interface.vamp``; the same lines as
``models.behaviour.interface``, kept apart on purpose: shared, a check of one against the other
would compare them with themselves.  The noise source is handed from chunk to chunk, from
feedback step to feedback step and on to the fine codes; with the setting `reseed` every coarse
generation restarts it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import GenerationSettings, VampSettings
from vampnet_onnx.pipeline.version.components import Codec, Generator, Transformer
from vampnet_onnx.pipeline.version.session import Graph

from .checks import require_codes, require_mask
from .generate import apply_mask, generate
from .generator import generate_in_graph
from .noise import Integers, NoiseSource, PhiloxNoise
from .streaming import joined, pieces

# Told what is at work (such as ``coarse``), how many of its sampling steps are done and how
# many there are.
Progress = Callable[[str, int, int], None]


def silent(_name: str, _done: int, _total: int) -> None:
    """Tell nobody of the progress."""


@dataclass(frozen=True)
class Vamped:
    """What vamping returns.

    Attributes:
        tokens: codes, int64 [B, C, T].
        masked_tokens: the codes that generation started from, with the mask token where a
            mask was in use, int64 [B, C, T]: what coarse saw in the last feedback step, and
            the fine codes under the mask of coarse-to-fine.
    """

    tokens: Integers
    masked_tokens: Integers

    def __repr__(self) -> str:
        batch, books, frames = self.tokens.shape
        return f"<Vamped: {batch} of {books} codebooks, {frames} frames>"


@dataclass
class _Part:
    """A transformer that generates chunk by chunk, and counts its sampling steps."""

    model: Transformer | Generator
    sampler: Graph | None
    settings: GenerationSettings
    noise: NoiseSource
    chunk: int  # frames generated at a time
    progress: Progress
    total: int  # sampling steps there will be in all
    reseed: bool = False  # restart the noise before every chunk
    done: int = 0

    def generate(self, codes: Integers, mask: Integers) -> Integers:
        """Generate the masked codes, int64 [B, C, T]; the last chunk may be shorter."""
        count = -(-codes.shape[-1] // self.chunk)
        parts = zip(pieces(codes, self.chunk), pieces(mask, self.chunk), strict=True)
        return joined(
            self._generate_chunk(*part, where=f" in chunk {number} of {count}")
            for number, part in enumerate(parts, 1)
        )

    def _generate_chunk(self, codes: Integers, mask: Integers, *, where: str) -> Integers:
        if self.reseed:
            self.noise.restart()
        if isinstance(self.model, Generator):
            assert isinstance(self.noise, PhiloxNoise), "a generator makes its own noise"
            return generate_in_graph(
                self.model,
                codes,
                mask,
                settings=self.settings,
                noise=self.noise,
                on_step=self._step,
                where=where,
            )
        assert self.sampler is not None, "a transformer takes the sampler beside it"
        return generate(
            self.model,
            self.sampler,
            codes,
            mask,
            settings=self.settings,
            noise=self.noise,
            on_step=self._step,
            where=where,
        )

    def _step(self) -> None:
        self.done += 1
        self.progress(self.model.name, self.done, self.total)


def vamp(
    codes: Integers,
    mask: Integers,
    *,
    coarse: Transformer | Generator,
    c2f: Transformer | Generator | None,
    sampler: Graph | None,
    codec: Codec,
    settings: VampSettings,
    noise: NoiseSource,
    progress: Progress = silent,
) -> Vamped:
    """Make variations of codes.

    Args:
        codes: int64 [1 or B, C, T] of all codebooks.
        mask: int64 [1 or B, C, T] of 0 and 1.
        c2f: generates the fine codes; None keeps those of the input, by request.
        sampler: what a transformer samples by; a generator has it inside.
        noise: `PhiloxNoise` for a generator.
        codec: for seconds to frames and the number of codebooks.

    Returns:
        Codes of T * time_stretch_factor steps.

    Raises:
        InputError: codes, mask and settings do not fit each other.
        NotFiniteError: as `generate`.
    """
    codes = _expanded(codes, settings.batch_size)
    mask = _expanded(mask, settings.batch_size)
    require_codes(codes, n_codebooks=codec.n_codebooks, mask_token=codec.codebook_size)
    require_mask(mask, codes)
    codes, mask = stretch(codes, mask, settings.time_stretch_factor)

    def part(
        model: Transformer | Generator,
        chosen: GenerationSettings,
        chunk_s: float,
        rounds: int = 1,
    ) -> _Part:
        chunk = codec.frames_of(chunk_s)
        steps = rounds * -(-codes.shape[-1] // chunk) * chosen.steps
        return _Part(model, sampler, chosen, noise, chunk, progress, steps)

    of_coarse = part(coarse, settings.coarse, settings.coarse_chunk_s, settings.feedback_steps)
    of_coarse.reseed = settings.reseed
    made = _coarse_vamp(of_coarse, codes, mask, rounds=settings.feedback_steps)
    if c2f is None:
        return made
    fine = _coarse_to_fine(part(c2f, settings.c2f, settings.c2f_chunk_s), made.tokens, mask)
    n = coarse.n_codebooks
    masked = np.concatenate([made.masked_tokens[:, :n], fine.masked_tokens[:, n:]], axis=1)
    return Vamped(fine.tokens, masked)


def coarse_to_fine(
    codes: Integers,
    mask: Integers | None,
    *,
    c2f: Transformer | Generator,
    sampler: Graph | None,
    codec: Codec,
    settings: GenerationSettings,
    chunk_s: float,
    noise: NoiseSource,
    progress: Progress = silent,
) -> Vamped:
    """Generate fine codes by themselves, given the coarse ones.

    Args:
        codes: int64 [B, C, T] of all codebooks; without a mask, those that condition are
            enough, and all others are made.
        mask: int64 [B, C, T] of 0 and 1, or None for all fine codes.
        chunk_s: seconds to work on at a time.

    Returns:
        Codes of all codebooks.

    Raises:
        InputError: codes and mask do not fit.
        NotFiniteError: as `generate`.
    """
    given, every = c2f.n_conditioning_codebooks, codec.n_codebooks
    if codes.ndim != 3 or not given <= codes.shape[1] <= every:
        raise InputError(
            f"codes must be [batch, {given} to {every}, steps], not {list(codes.shape)}"
        )
    if mask is None:
        codes = np.pad(codes, ((0, 0), (0, every - codes.shape[1]), (0, 0)))
        mask = np.ones_like(codes)
    require_codes(codes, n_codebooks=every, mask_token=codec.codebook_size)
    require_mask(mask, codes)
    chunk = codec.frames_of(chunk_s)
    steps = -(-codes.shape[-1] // chunk) * settings.steps
    part = _Part(c2f, sampler, settings, noise, chunk, progress, steps)
    return _coarse_to_fine(part, codes, mask)


def keep_edges(mask: Integers) -> Integers:
    """Keep the first and last time step of a mask (int64 [B, C, T]) that keeps anything."""
    if (mask == 1).all():
        return mask
    kept = mask.copy()
    kept[..., [0, -1]] = 0
    return kept


def stretch(codes: Integers, mask: Integers, factor: int) -> tuple[Integers, Integers]:
    """Repeat every time step `factor` times and mask the repetitions.

    Codes and mask are int64 [B, C, T], and [B, C, T * factor] as returned.
    """
    codes, mask = codes.repeat(factor, axis=-1), mask.repeat(factor, axis=-1)
    added = np.arange(mask.shape[-1]) % factor > 0
    return codes, np.where(added, np.int64(1), mask)


def _coarse_vamp(part: _Part, codes: Integers, mask: Integers, *, rounds: int) -> Vamped:
    """Generate the masked coarse codes, `rounds` times, each fed the result of the last."""
    n = part.model.n_codebooks
    # A chunk keeps its own edges, not those of the clip alone.
    mask = joined(keep_edges(given) for given in pieces(mask[:, :n], part.chunk))
    tokens, fine = codes[:, :n], codes[:, n:]
    for _ in range(rounds):
        start = apply_mask(tokens, mask, part.model.mask_token)
        tokens = part.generate(start, mask)
    return Vamped(
        np.concatenate([tokens, fine], axis=1), np.concatenate([start, fine], axis=1)
    )


def _coarse_to_fine(part: _Part, codes: Integers, mask: Integers) -> Vamped:
    """Generate the masked fine codes, given the coarse ones.

    The last chunk is filled up with code 0 under mask 1; what is generated there is cut off.
    """
    length = codes.shape[-1]
    fill = ((0, 0), (0, 0), (0, -length % part.chunk))
    mask = np.pad(mask, fill, constant_values=1)
    mask[:, : part.model.n_conditioning_codebooks] = 0
    tokens = part.generate(np.pad(codes, fill), mask)[..., :length]
    return Vamped(tokens, apply_mask(tokens, mask[..., :length], part.model.mask_token))


def _expanded(array: Integers, batch_size: int) -> Integers:
    if array.ndim != 3 or array.shape[0] not in (1, batch_size):
        raise InputError(
            f"codes and mask must be [1 or {batch_size}, codebooks, steps] for batch_size ="
            f" {batch_size}, not {list(array.shape)}"
        )
    return np.broadcast_to(array, (batch_size, *array.shape[1:]))
