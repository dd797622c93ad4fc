"""Variations of codes on the artifacts: coarse generation in chunks, then coarse to fine.

Published as ``vampnet.interface.Interface.vamp``; the same lines as
``models.behaviour.interface``. Nothing here seeds: the noise source is handed from chunk to
chunk, from feedback step to feedback step and on to the fine codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import GenerationSettings, VampSettings
from vampnet_onnx.pipeline.version.components import Codec, Transformer
from vampnet_onnx.pipeline.version.session import Graph

from .checks import require_codes, require_mask
from .generate import apply_mask, generate
from .noise import Integers, NoiseSource

# Told what is at work (such as ``coarse``), how many of its steps are done and how many
# there are.
Progress = Callable[[str, int, int], None]


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


@dataclass
class _Steps:
    """Counts the sampling steps of a part."""

    progress: Progress
    name: str
    total: int
    done: int = 0

    def __call__(self, _step: int, _sampled: Integers, _codes: Integers) -> None:
        self.done += 1
        self.progress(self.name, self.done, self.total)


def vamp(
    codes: Integers,
    mask: Integers,
    *,
    coarse: Transformer,
    c2f: Transformer | None,
    sampler: Graph,
    codec: Codec,
    settings: VampSettings,
    noise: NoiseSource,
    progress: Progress = lambda _name, _done, _total: None,
) -> Vamped:
    """Make variations of codes.

    Args:
        codes: int64 [1 or B, C, T] of all codebooks.
        mask: int64 [1 or B, C, T] of 0 and 1.
        coarse: generates the coarse codebooks.
        c2f: generates the fine ones; None keeps those of the input, by request.
        sampler: the sampler's graph.
        codec: for seconds to frames and the number of codebooks.
        settings: see `VampSettings`; `batch_size` is B.
        noise: what drives the generation.
        progress: see `Progress`.

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
    chunk = codec.frames_of(settings.coarse_chunk_s)
    per_round = -(-codes.shape[-1] // chunk) * settings.coarse.steps
    steps = _Steps(progress, coarse.name, settings.feedback_steps * per_round)
    tokens = codes
    for _ in range(settings.feedback_steps):
        made = _coarse_vamp(
            coarse,
            sampler,
            tokens,
            mask,
            chunk=chunk,
            settings=settings.coarse,
            noise=noise,
            steps=steps,
        )
        tokens = made.tokens
    if c2f is None:
        return made
    chunk = codec.frames_of(settings.c2f_chunk_s)
    steps = _Steps(progress, c2f.name, -(-codes.shape[-1] // chunk) * settings.c2f.steps)
    fine = _coarse_to_fine(
        c2f,
        sampler,
        tokens,
        mask,
        chunk=chunk,
        settings=settings.c2f,
        noise=noise,
        steps=steps,
    )
    n_coarse = coarse.n_codebooks
    masked = [made.masked_tokens[:, :n_coarse], fine.masked_tokens[:, n_coarse:]]
    return Vamped(fine.tokens, np.concatenate(masked, axis=1))


def keep_edges(mask: Integers) -> Integers:
    """Keep the first and last time step of a mask (int64 [B, C, T]) that keeps anything."""
    if (mask == 1).all():
        return mask
    kept = mask.copy()
    kept[..., 0] = 0
    kept[..., -1] = 0
    return kept


def stretch(codes: Integers, mask: Integers, factor: int) -> tuple[Integers, Integers]:
    """Repeat every time step `factor` times and mask the repetitions.

    Args:
        codes: int64 [B, C, T].
        mask: int64 [B, C, T].
        factor: at least 1.

    Returns:
        Codes and mask, int64 [B, C, T * factor].
    """
    codes, mask = codes.repeat(factor, axis=-1), mask.repeat(factor, axis=-1)
    added = np.arange(mask.shape[-1]) % factor > 0
    return codes, np.where(added, np.int64(1), mask)


def _coarse_vamp(
    model: Transformer,
    sampler: Graph,
    codes: Integers,
    mask: Integers,
    *,
    chunk: int,
    settings: GenerationSettings,
    noise: NoiseSource,
    steps: _Steps,
) -> Vamped:
    """Generate the masked coarse codes chunk by chunk; the last chunk is shorter."""
    n = model.n_codebooks
    made, masked = [], []
    for where, part, given_mask in _chunks(codes[:, :n], mask[:, :n], chunk):
        part_mask = keep_edges(given_mask)
        start = apply_mask(part, part_mask, model.mask_token)
        made.append(
            generate(
                model,
                sampler,
                start,
                part_mask,
                settings=settings,
                noise=noise,
                on_step=steps,
                where=where,
            )
        )
        masked.append(start)
    fine = codes[:, n:]
    return Vamped(
        np.concatenate([np.concatenate(made, axis=-1), fine], axis=1),
        np.concatenate([np.concatenate(masked, axis=-1), fine], axis=1),
    )


def _coarse_to_fine(
    model: Transformer,
    sampler: Graph,
    codes: Integers,
    mask: Integers,
    *,
    chunk: int,
    settings: GenerationSettings,
    noise: NoiseSource,
    steps: _Steps,
) -> Vamped:
    """Generate the masked fine codes, given the coarse ones, chunk by chunk.

    The last chunk is filled up with code 0 under mask 1; what is generated there is cut off.
    """
    length = codes.shape[-1]
    fill = ((0, 0), (0, 0), (0, -length % chunk))
    mask = np.pad(mask, fill, constant_values=1)
    mask[:, : model.n_conditioning_codebooks] = 0
    made = [
        generate(
            model,
            sampler,
            part,
            part_mask,
            settings=settings,
            noise=noise,
            on_step=steps,
            where=where,
        )
        for where, part, part_mask in _chunks(np.pad(codes, fill), mask, chunk)
    ]
    tokens = np.concatenate(made, axis=-1)[..., :length]
    return Vamped(tokens, apply_mask(tokens, mask[..., :length], model.mask_token))


def _chunks(
    codes: Integers, mask: Integers, length: int
) -> Iterator[tuple[str, Integers, Integers]]:
    """Give every chunk's place, for messages, its codes and its mask."""
    count = -(-codes.shape[-1] // length)
    for i in range(count):
        part = slice(i * length, (i + 1) * length)
        yield f" in chunk {i + 1} of {count}", codes[..., part], mask[..., part]


def _expanded(array: Integers, batch_size: int) -> Integers:
    if array.ndim != 3 or array.shape[0] not in (1, batch_size):
        raise InputError(
            f"codes and mask must be [1 or {batch_size}, codebooks, steps] for batch_size ="
            f" {batch_size}, not {list(array.shape)}"
        )
    return np.broadcast_to(array, (batch_size, *array.shape[1:]))
