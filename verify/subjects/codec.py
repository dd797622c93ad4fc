"""The codec's encoder, audio to codes and latents, and its decoder, codes to audio."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from threading import get_ident

import numpy as np
import torch
from torch import Tensor, nn

from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import LAC, ModelSet
from vampnet_onnx.models.networks.quantize import VectorQuantize
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.numbers.ties import (
    code_margins,
    codes_behind,
    residual_differences,
    top_two_margin,
)

from .case import (
    Array,
    Arrays,
    Case,
    Comparison,
    Computed,
    Outputs,
    Parts,
    Published,
    Subject,
    every_code,
    no_ties,
    tensors,
    token_counts,
    token_message,
    token_metrics,
)
from .random import Random, made_audio

_MASKED = "masked"  # of the decoder: a quarter of the codes are mask tokens


class CodecEncoder(Subject):
    """Codes are compared exactly, and the latents, since the argmax hides small defects."""

    names = ("codec_encoder",)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Try audio on and off the hop at every length, and a single sample."""
        hop = record.hop_length
        lengths = {1, *(n * hop for n in matrix.frames)}
        lengths |= {(n - 1) * hop + hop // 3 for n in matrix.frames}
        found = product(matrix.seeds, matrix.batches, sorted(lengths - {0}))
        return [Case(record.id, *extents) for extents in found]

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make audio, float32 [batch, 1, samples]."""
        return {"audio": made_audio(Random(case.id), case.batch, case.length)}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Encode, watching the quantisers for each token's margin."""
        codec = codec_of(models)
        (audio,) = tensors(inputs, models)
        with _watched_margins(codec) as margins:
            encoded = codec.encode(audio)
        outputs = {"codes": encoded.codes.numpy(), "latents": encoded.latents.numpy()}
        books = range(len(codec.quantizer.codebook_dims))
        tables = [codec.quantizer.book(i).codebook.weight.numpy() for i in books]
        return Computed(outputs, np.stack(margins, axis=1), tables)

    def covering(
        self, record: ComponentRecord, models: ModelSet
    ) -> Mapping[str, Sequence[Tensor | int]]:
        """Give each codebook what it projects onto its entries, one after another."""
        quantizer = codec_of(models).quantizer
        books = range(len(quantizer.codebook_dims))
        return {f"quantizer.quantizers.{i}": (_residuals(quantizer.book(i)),) for i in books}

    def margins(self, outputs: Outputs, tables: Sequence[np.ndarray]) -> np.ndarray | None:
        """Take margins from the latents, if the codebooks are known."""
        return code_margins(outputs["latents"], tables) if tables else None

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare latents where the residual is the same, and codes."""
        codes, r, e = expected.outputs["codes"], expected.outputs["latents"], export["latents"]
        margins = no_ties(codes.shape) if expected.margins is None else expected.margins
        behind = codes_behind(r, expected.tables, export["codes"]) if expected.tables else None
        found = residual_differences(
            codes, export["codes"], margins, ties.codes_margin, behind
        )
        widths = record.dim_list("codebook_dims")
        owner = np.repeat(np.arange(len(widths)), widths)  # codebook of each latent channel
        # Latents after a tie belong to another residual and are not comparable.
        excused = found.knock_on | (np.cumsum(found.ambiguous, axis=1) - found.ambiguous > 0)
        kept = ~excused[:, owner]
        error = np.abs(e.astype(np.float64) - r)
        return Comparison(
            metrics={
                **metrics.float_metrics(r[kept], e[kept]),
                **metrics.nonfinite(r, e),
                **token_metrics(found),
            },
            quantity="latents",
            error=np.stack(
                [error[:, owner == i].max(axis=(0, 1)) for i in range(len(widths))]
            ),
            rows=[f"codebook {i}" for i in range(len(widths))],
            unit="frames",
            reference=r[kept],
            export=e[kept],
            message=token_message(found, (codes, export["codes"]), margins, (r, e)),
            tokens=token_counts(found.any.transpose(1, 0, 2), found.ambiguous),
        )

    def published(self, record: ComponentRecord) -> Published:
        """Name what is recorded of it: the encoder's output stands before the quantiser."""
        return Published("encode", "encode", "audio", ("codes", "latents"), _before_quantizer)


class CodecDecoder(Subject):
    """Audio is compared sample by sample."""

    names = ("codec_decoder",)
    settings = ("", _MASKED)

    def codebooks(self, record: ComponentRecord) -> range:
        """Return one to all of them."""
        return range(1, record.dim("n_codebooks") + 1)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Give all codebooks, one, and numbers in between, and mask tokens at the longest.

        Those with mask tokens come first: the last one stands for all.
        """
        books = record.dim("n_codebooks")
        found = [
            # All of them at the first length of every seed, then others in turn.
            Case(
                record.id,
                seed,
                batch,
                frames,
                books if i == 0 else 1 + (seed + i * (books // 2 + 1)) % books,
            )
            for seed, batch in product(matrix.seeds, matrix.batches)
            for i, frames in enumerate(matrix.frames)
        ]
        longest = max(matrix.frames)
        return [replace(c, setting=_MASKED) for c in found if c.length == longest] + found

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make codes, int64 [batch, codebooks, frames]."""
        random, size = Random(case.id), record.dim("codebook_size")
        shape = (case.batch, case.codebooks, case.length)
        codes = random.integers(shape, size)
        masked = random.unit(shape) < np.float32(0.25 if case.setting == _MASKED else 0)
        return {"codes": np.where(masked, size, codes)}

    def covering(
        self, record: ComponentRecord, models: ModelSet
    ) -> Mapping[str, Sequence[Tensor | int]]:
        """Look up every code of every codebook and the mask token."""
        codes = every_code(record.dim("n_codebooks"), record.dim("codebook_size"))
        return {"quantizer": (codes,)}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Decode."""
        return Computed(
            {"audio": codec_of(models).decode_codes(*tensors(inputs, models)).numpy()}
        )

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare samples."""
        r, e = expected.outputs["audio"], export["audio"]
        return Comparison(
            metrics={**metrics.float_metrics(r, e), **metrics.nonfinite(r, e)},
            quantity="audio",
            error=np.abs(e.astype(np.float64) - r)[:, 0],
            rows=[f"item {i}" for i in range(r.shape[0])],
            unit="samples",
            reference=r,
            export=e,
            message=metrics.nonfinite_message(r, e),
        )

    def published(self, record: ComponentRecord) -> Published:
        """Name what is recorded of it: the quantiser's output stands before the decoder."""
        return Published("decode", "decode", "codes", ("audio",), _before_decoder)


SUBJECTS = (CodecEncoder(), CodecDecoder())


def codec_of(models: ModelSet) -> LAC:
    """Return the codec of a set that has one."""
    if models.codec is None:
        raise ValueError("the reference needs codec.pth")
    return models.codec


def _before_quantizer(recorded: Array, outputs: Outputs) -> Parts:
    z = recorded("z_continuous")
    return {
        "encoder": ((), (z,)),
        "quantizer": ((z,), (outputs["codes"], outputs["latents"])),
    }


def _before_decoder(recorded: Array, outputs: Outputs) -> Parts:
    z = recorded("z_quantized")
    return {"quantizer": ((), (z,)), "decoder": ((z,), (outputs["audio"],))}


def _residuals(book: VectorQuantize) -> Tensor:
    """Return what a codebook projects onto its own entries, float [1, latent_dim, entries].

    Of the many residuals that are, the shortest.
    """
    projection = book.in_proj
    with torch.inference_mode():
        weight, bias = projection.weight()[:, :, 0].double(), projection.bias.double()
        entries = book.codebook.weight.double().t() - bias[:, None]
        found: Tensor = torch.linalg.pinv(weight) @ entries
        return found[None].float()


@contextmanager
def _watched_margins(codec: LAC) -> Iterator[list[np.ndarray]]:
    """Collect each codebook's margin (float [B, T]) while the codec encodes in this thread."""
    margins: list[np.ndarray] = []
    own = get_ident()

    def watch(
        module: nn.Module, _inputs: object, output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        assert isinstance(module, VectorQuantize)
        if get_ident() != own:
            return
        scores = -module.distances(output[2])
        margins.append(top_two_margin(scores.numpy(), axis=-1))

    hooks = [book.register_forward_hook(watch) for book in codec.quantizer.quantizers]
    try:
        yield margins
    finally:
        for hook in hooks:
            hook.remove()
