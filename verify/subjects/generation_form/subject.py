"""Variations of music by a form of the transformers: is it still the same model to hear?

Errors of logits say little of what a form gives: the codes it draws part from the reference's
sooner or later, and then only what is likely, how much it varies and how it sounds can be
compared.  The reference scores both sides, so only a reference that has learnt from music can:
one that predicts the codes of the packaged clip better than chance.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates, Ties, VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord, Manifest
from vampnet_onnx.configs.names import BFLOAT16, FORMS, variant_of
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.subjects.case import (
    Arrays,
    Case,
    Comparison,
    Computed,
    OpenComponent,
    Outputs,
    RunExport,
    Subject,
)
from vampnet_onnx.verify.subjects.wholes import generation_record, parts_there

from .compare import compare_forms
from .export import generation_in_form
from .plan import FRAMES, PER_EXCERPT, SEEDS, clip
from .reference import gain_over_chance, generate_in_torch

_NAME = "generation"
_FINE = "c2f"
_SEEDS = 1 << 63
_LEAST_SEEDS = 32


class GenerationInForm(Subject):
    """Variations of the packaged clip, in one form against the reference in float32."""

    has_rounding = False
    untried = frozenset({"audio", "seeds", "frames"})  # the seed moves all there is
    shares_reference = True

    def __init__(self, form: str) -> None:
        """Make the subject of a form."""
        self.form = form
        self.names = (variant_of(_NAME, form),)
        self.needs = (
            variant_of("coarse", form),
            "sampler",
            "codec_decoder",
            "codec_encoder",
        )

    def codebooks(self, record: ComponentRecord) -> tuple[int]:
        """Return all of them."""
        return (record.dim("n_codebooks"),)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Make one case of many seeds: what is measured is of all of them at once."""
        return [Case(record.id, matrix.seeds[0], SEEDS, FRAMES, record.dim("n_codebooks"))]

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case of few seeds: nothing could be said of it.

        Raises:
            InputError: so, too, where it is none of this component's.
        """
        super().require(record, case)
        if case.batch < _LEAST_SEEDS or case.batch % PER_EXCERPT:
            raise InputError(
                f"{case.id}: batch must be an even number of seeds, {_LEAST_SEEDS} or more;"
                " the mean of fewer says nothing"
            )

    def least(self, case: Case) -> Case:
        """Return the same of two items."""
        return replace(case, batch=PER_EXCERPT)

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Give the clip, float32 [1, 1, samples], ``seeds``, int64 [batch], and ``frames``."""
        return {
            "audio": clip(record.dim("sample_rate"), record.dim("hop_length")),
            "seeds": np.array([(case.seed + i) % _SEEDS for i in range(case.batch)]),
            "frames": np.array(case.length, np.int64),
        }

    def unfit(self, models: ModelSet, gates: Gates) -> str:
        """Say why nothing follows from what the reference thinks of a variation."""
        gain = gain_over_chance(models)
        if gain > gates.learnt.gain:
            return ""
        return (
            "the reference predicts the codes of music no better than chance"
            f" ({gain:+.2f} nats a code), so that it cannot tell good variations from bad ones"
        )

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Generate in PyTorch; see `generate_in_torch`."""
        return generate_in_torch(record, inputs, models)

    def wrong(self, outputs: Outputs) -> Iterable[Arrays]:
        """Give every item the codes that occur most, and the sound of another excerpt."""
        tokens = outputs["tokens"]
        most = [np.bincount(book.ravel()).argmax() for book in tokens.transpose(1, 0, 2)]
        collapsed = np.broadcast_to(np.array(most)[:, None], tokens.shape)
        return [
            {
                "tokens": np.ascontiguousarray(collapsed),
                "audio": np.roll(outputs["audio"], PER_EXCERPT, axis=0),
            }
        ]

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare seed by seed; see `compare_forms`."""
        return compare_forms(record, expected, export)

    def whole(self, manifest: Manifest) -> ComponentRecord | None:
        """Return the record of this form's generations; None if a part of them is missing."""
        return generation_record(_NAME, self.form, self._parts(manifest), self.needs)

    def wanted(self, manifest: Manifest) -> bool:
        """Whether a transformer is there in this form."""
        return any(self.form in part.variant.split(".") for part in manifest.components)

    def parts(self, record: ComponentRecord, manifest: Manifest) -> list[ComponentRecord]:
        """Return the components at work, the coarse-to-fine model if it is there."""
        return self._parts(manifest)

    def run_whole(
        self,
        artifacts: Artifacts,
        record: ComponentRecord,
        adapters: Sequence[AdapterRecord],
        runtime: Runtime,
        *,
        opened_by: OpenComponent | None = None,
    ) -> RunExport:
        """Return what generates on the pipeline in this form."""
        return generation_in_form(
            artifacts, record, adapters=adapters, runtime=runtime, opened_by=opened_by
        )

    def _parts(self, manifest: Manifest) -> list[ComponentRecord]:
        return parts_there(manifest, (*self.needs, variant_of(_FINE, self.form)))


SUBJECTS = tuple(GenerationInForm(form) for form in (*FORMS, BFLOAT16))
