"""Seeded inputs as data: the same case gives the same bytes on any machine.

Numbers come from the raw bits of NumPy's Philox generator, a counter-based generator with a
published definition (Salmon et al., 2011), and from integer arithmetic alone; nothing depends
on a library's way to make a normal deviate or on a platform's sine.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from configs.config import VerifySection
from configs.manifest import ComponentRecord

_UNIT = 1 << 24  # steps of a float32 in [0, 1)


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        component: component with variant, such as ``coarse.latents``.
        seed: of the case.
        batch: items.
        length: frames, or samples where the component takes audio.
        codebooks: codebooks given; 0 where the component takes no codes.
    """

    component: str
    seed: int
    batch: int
    length: int
    codebooks: int = 0

    @property
    def id(self) -> str:
        """Name that says everything, such as ``coarse/seed=0/batch=3/length=13``."""
        books = f"/codebooks={self.codebooks}" if self.codebooks else ""
        return (
            f"{self.component}/seed={self.seed}/batch={self.batch}/length={self.length}{books}"
        )


def cases_for(component: ComponentRecord, matrix: VerifySection) -> list[Case]:
    """Return the cases of a component, in a fixed order.

    Audio is tried on and off the hop at every length, and at a single sample.  The decoder is
    given all codebooks, one, and numbers in between.

    Args:
        component: from the manifest.
        matrix: seeds, frames and batches.
    """
    return [
        Case(component.id, seed, batch, length, books)
        for seed in matrix.seeds
        for batch in matrix.batches
        for length, books in _extents(component, matrix.frames, seed)
    ]


def make_inputs(case: Case, component: ComponentRecord) -> dict[str, np.ndarray]:
    """Make the input arrays of a case.

    Args:
        case: which.
        component: from the manifest; tells vocabulary, widths and names.

    Returns:
        One array by input name, of the dtype and shape the signature says.
    """
    random = _Random(case.id)
    dims = component.dims
    if component.name == "codec_encoder":
        return {"audio": _audio(random, case.batch, case.length)}
    if component.name == "codec_decoder":
        size = _integer(dims, "codebook_size")
        codes = random.integers((case.batch, case.codebooks, case.length), size)
        return {"codes": codes}
    books = _integer(dims, "n_codebooks")
    if component.variant:
        width = books * _integer(dims, "latent_dim")
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
        books = _integer(dims, "n_codebooks")
        for i, count in enumerate(frames):
            # All of them at the first length of every seed, then others in turn.
            yield count, books if i == 0 else 1 + (seed + i * (books // 2 + 1)) % books
    else:
        yield from ((count, 0) for count in frames)


def _masked_codes(
    random: _Random, case: Case, books: int, dims: Mapping[str, int | tuple[int, ...]]
) -> np.ndarray:
    """Draw codes of which a quarter to all are masked, conditioning codebooks hardly ever."""
    vocab = _integer(dims, "vocab_size")
    shape = (case.batch, books, case.length)
    codes = random.integers(shape, vocab)
    share = np.full((1, books, 1), (0.25, 0.5, 0.75, 1.0)[case.seed % 4], np.float32)
    share[:, : _integer(dims, "n_conditioning_codebooks")] = 0.05
    return np.where(random.unit(shape) < share, vocab, codes)


def _audio(random: _Random, batch: int, samples: int) -> np.ndarray:
    """Sum triangle waves and noise under a slow envelope, exactly, in integers.

    Returns:
        float32 [batch, 1, samples] within full scale.
    """
    time = np.arange(samples, dtype=np.int64)
    out = np.empty((batch, 1, samples), np.float32)
    for item in range(batch):
        total = np.zeros(samples, np.int64)
        for increment in random.integers((4,), 3000) + 40:  # of a phase of 2^16 a sample
            phase = (time * increment + random.integers((1,), 1 << 16)) & 0xFFFF
            total += np.abs(phase - (1 << 15)) - (1 << 14)
        total += random.integers((samples,), 1 << 13) - (1 << 12)
        slow = (time * (random.integers((1,), 12) + 1)) & 0xFFFF
        envelope = np.abs(slow - (1 << 15)) + (1 << 12)
        out[item, 0] = (total * envelope).astype(np.float64) / 2.0**33
    return out


class _Random:
    """Integers and unit floats from Philox's raw bits."""

    def __init__(self, name: str) -> None:
        key = (zlib.crc32(name.encode()) << 32) | zlib.crc32(name[::-1].encode())
        self._bits = np.random.Philox(key=key)

    def integers(self, shape: tuple[int, ...], below: int) -> np.ndarray:
        """Return int64 in [0, below); the bias of the modulus is below 2^-30."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(11)
        return (raw % np.uint64(below)).astype(np.int64).reshape(shape)

    def unit(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 in [0, 1), exact multiples of 2^-24."""
        return (self.integers(shape, _UNIT) / _UNIT).astype(np.float32)


def _integer(dims: Mapping[str, int | tuple[int, ...]], name: str) -> int:
    value = dims[name]
    if not isinstance(value, int):
        raise TypeError(f"dimension {name} is {value!r}, not an integer")
    return value
