"""The transformers, coarse and coarse-to-fine, by codes and by latents: tokens to logits."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from torch import Tensor

from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import TRANSFORMERS, entry_and_form
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.networks.vampnet import MAX_DISTANCE
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.numbers.ties import independent_differences, top_two_margin

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
    tensors,
    token_counts,
    token_message,
    token_metrics,
)
from .codec import codec_of
from .random import Random

_POSITION_BIAS = "transformer.layers.0.self_attn.relative_attention_bias"


class Transformer(Subject):
    """Logits are compared at every position, and the most likely token of each."""

    names = TRANSFORMERS

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Try every length, batch and seed."""
        found = product(matrix.seeds, matrix.batches, matrix.frames)
        return [Case(record.id, *extents) for extents in found]

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make codes with mask tokens, int64 [batch, codebooks, frames], or float latents.

        A quarter to all of the codes are masked, in conditioning codebooks hardly any.
        """
        random = Random(case.id)
        books, vocab = record.dim("n_codebooks"), record.dim("vocab_size")
        if _entry(record):
            width = books * record.dim("latent_dim")
            unit = random.unit((case.batch, width, case.length))
            return {"latents": (unit - np.float32(0.5)) * np.float32(4)}
        shape = (case.batch, books, case.length)
        codes = random.integers(shape, vocab)
        share = np.full((1, books, 1), (0.25, 0.5, 0.75, 1.0)[case.seed % 4], np.float32)
        share[:, : record.dim("n_conditioning_codebooks", least=0)] = 0.05
        return {"codes": np.where(random.unit(shape) < share, vocab, codes)}

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Predict."""
        model, (given,) = models.transformers[record.name], tensors(inputs, models)
        if _entry(record):
            logits = model(given)
        else:
            logits = model.forward_codes(given, codec_of(models).quantizer)
        outputs = {"logits": logits.numpy()}
        return Computed(outputs, self.margins(outputs, ()))

    def covering(
        self, record: ComponentRecord, models: ModelSet
    ) -> Mapping[str, Sequence[Tensor | int]]:
        """Embed every code of every codebook and the mask token; reach every distance."""
        codes = every_code(record.dim("n_codebooks"), record.dim("vocab_size"))
        frames = {_POSITION_BIAS: (MAX_DISTANCE + 12,)}  # past the last bucket
        return frames if _entry(record) else {**frames, "embedding": (codes,)}

    def margins(self, outputs: Outputs, tables: Sequence[np.ndarray]) -> np.ndarray:
        """Return how far ahead the most likely token is, float [batch, positions]."""
        return top_two_margin(outputs["logits"], axis=1)

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare logits and the most likely tokens."""
        r, e = expected.outputs["logits"], export["logits"]
        conditioning = record.dim("n_conditioning_codebooks", least=0)
        predicted = record.dim("n_codebooks") - conditioning
        best = r.argmax(axis=1), e.argmax(axis=1)
        margins = expected.margins
        if margins is None:
            margins = self.margins(expected.outputs, ())
        tolerance = ties.logits_margin * float(np.abs(r).max())
        chosen = np.take_along_axis(r, best[1][:, None], axis=1)[:, 0]
        behind = r.max(axis=1) - chosen
        found = independent_differences(*best, margins, tolerance, behind)

        def by_codebook(positions: np.ndarray) -> np.ndarray:
            # Positions are time-major, codebook-minor.
            return positions.reshape(len(positions), -1, predicted).transpose(2, 0, 1)

        measured, message = token_metrics(found), token_message(found, best, margins, (r, e))
        if entry_and_form(record.variant)[1]:  # rounding is what explains them
            measured = {"token_accuracy": measured["token_accuracy"]}
            message = metrics.nonfinite_message(r, e)
        error = np.abs(e.astype(np.float64) - r).max(axis=1)
        return Comparison(
            metrics={
                **metrics.float_metrics(r, e),
                **metrics.form_metrics(r, e, axis=1),
                **metrics.nonfinite(r, e),
                **measured,
            },
            quantity="logits",
            error=by_codebook(error).max(axis=1),
            rows=[f"codebook {conditioning + i}" for i in range(predicted)],
            unit="frames",
            reference=r,
            export=e,
            message=message,
            tokens=token_counts(by_codebook(found.any), found.ambiguous),
        )

    def published(self, record: ComponentRecord) -> Published:
        """Name what is recorded of it: the output of every layer stands between them."""
        return Published(
            record.name,
            "logits",
            _entry(record) or "codes",
            ("logits",),
            _between_layers,
            parameters={"model": record.name},
        )


SUBJECTS = (Transformer(),)


def _entry(record: ComponentRecord) -> str:
    return entry_and_form(record.variant)[0]


def _between_layers(recorded: Array, _outputs: Outputs) -> Parts:
    layers = recorded("activations")
    return {
        f"transformer.layers.{i}": ((layers[i - 1],) if i else (), (layer,))
        for i, layer in enumerate(layers)
    }
