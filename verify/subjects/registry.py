"""Seeded inputs as data: the same case gives the same bytes on any machine.

Cases of the networks are here, those of the drawn components in `verify.subjects.drawn_cases`,
those of whole generations in `verify.subjects.generation.cases`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord

from . import drawn_cases
from .drawn_cases import DRAWN
from .generation import cases as generation_cases
from .generation.cases import GENERATION
from .random import Random, integer_dim, made_audio

MASKED = "masked"  # of the decoder: a quarter of the codes are mask tokens


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        component: component with variant, such as ``coarse.latents``.
        seed: of the case.
        batch: items.
        length: frames, or samples where the component takes audio.
        codebooks: codebooks given; 0 where the component takes no codes.
        setting: kind of input or of options, where a component has several.
    """

    component: str
    seed: int
    batch: int
    length: int
    codebooks: int = 0
    setting: str = ""

    @property
    def id(self) -> str:
        """Name that says everything, such as ``coarse/seed=0/batch=3/length=13``."""
        books = f"/codebooks={self.codebooks}" if self.codebooks else ""
        setting = f"/{self.setting}" if self.setting else ""
        return (
            f"{self.component}/seed={self.seed}/batch={self.batch}/length={self.length}{books}"
            f"{setting}"
        )


def cases_for(component: ComponentRecord, matrix: VerifySection) -> list[Case]:
    """Return the cases of a component, in a fixed order.

    Audio is tried on and off the hop at every length, and at a single sample.  The decoder is
    given all codebooks, one, and numbers in between, and mask tokens at the greatest length.

    Args:
        component: from the manifest.
        matrix: seeds, frames and batches.
    """
    if component.name in DRAWN:
        return [Case(component.id, *case) for case in drawn_cases.extents(component, matrix)]
    if component.name == GENERATION:
        found = generation_cases.extents(component, matrix)
        return [Case(component.id, *case) for case in found]
    cases = [
        Case(component.id, seed, batch, length, books)
        for seed in matrix.seeds
        for batch in matrix.batches
        for length, books in _extents(component, matrix.frames, seed)
    ]
    if component.name == "codec_decoder":
        cases += [replace(c, setting=MASKED) for c in cases if c.length == max(matrix.frames)]
    return cases


def make_inputs(case: Case, component: ComponentRecord) -> dict[str, np.ndarray]:
    """Make the input arrays of a case.

    Args:
        case: which.
        component: from the manifest; tells vocabulary, widths and names.

    Returns:
        One array by input name, of the dtype and shape the signature says.
    """
    random = Random(case.id)
    if component.name in DRAWN:
        extent = (case.batch, case.length, case.codebooks, case.setting)
        return drawn_cases.inputs(component, random, *extent)
    if component.name == GENERATION:
        return generation_cases.inputs(
            component, random, case.seed, case.batch, case.length, case.setting
        )
    dims = component.dims
    if component.name == "codec_encoder":
        return {"audio": made_audio(random, case.batch, case.length)}
    if component.name == "codec_decoder":
        size = integer_dim(dims, "codebook_size")
        shape = (case.batch, case.codebooks, case.length)
        codes = random.integers(shape, size)
        masked = random.unit(shape) < np.float32(0.25 if case.setting == MASKED else 0)
        return {"codes": np.where(masked, size, codes)}
    books = integer_dim(dims, "n_codebooks")
    if component.variant:
        width = books * integer_dim(dims, "latent_dim")
        unit = random.unit((case.batch, width, case.length))
        return {"latents": (unit - np.float32(0.5)) * np.float32(4)}
    return {"codes": _masked_codes(random, case, books, dims)}


def _extents(
    component: ComponentRecord, frames: list[int], seed: int
) -> Iterator[tuple[int, int]]:
    dims = component.dims
    if component.name == "codec_encoder":
        hop = int(np.prod(dims["decoder_rates"]))
        lengths = [1, *(n * hop for n in frames), *((n - 1) * hop + hop // 3 for n in frames)]
        yield from ((length, 0) for length in sorted(set(lengths)) if length)
    elif component.name == "codec_decoder":
        books = integer_dim(dims, "n_codebooks")
        for i, count in enumerate(frames):
            # All of them at the first length of every seed, then others in turn.
            yield count, books if i == 0 else 1 + (seed + i * (books // 2 + 1)) % books
    else:
        yield from ((count, 0) for count in frames)


def _masked_codes(
    random: Random, case: Case, books: int, dims: Mapping[str, int | tuple[int, ...]]
) -> np.ndarray:
    """Draw codes of which a quarter to all are masked, conditioning codebooks hardly ever."""
    vocab = integer_dim(dims, "vocab_size")
    shape = (case.batch, books, case.length)
    codes = random.integers(shape, vocab)
    share = np.full((1, books, 1), (0.25, 0.5, 0.75, 1.0)[case.seed % 4], np.float32)
    share[:, : integer_dim(dims, "n_conditioning_codebooks")] = 0.05
    return np.where(random.unit(shape) < share, vocab, codes)
