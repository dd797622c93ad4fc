"""Whole generations: codes in, a variation of them and its audio out.

A generation is no file but several at work, so its record is made here from the manifest, not
read from it.  Everything random comes from the case's seed on both sides.
"""

from collections.abc import Sequence

import numpy as np

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Ties, VerifySection
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord, Manifest
from vampnet_onnx.configs.names import BFLOAT16, TRANSFORMERS
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
from vampnet_onnx.verify.subjects.random import Random
from vampnet_onnx.verify.subjects.wholes import generation_record, parts_there

from .both_sides import exported_generation, run_generation
from .compare import compare_generation
from .plan import FRAMES, SETTINGS

_FINE = "c2f"
_KEPT_EVERY = 7  # frames, as the published periodic prompt


class Generation(Subject):
    """Tokens of every step are compared, then the audio."""

    names = ("generation",)
    has_rounding = False  # its margins hold the rounding of its logits
    untried = frozenset({"codes", "mask", "seed", "setting"})  # the seed moves all of them
    settings = SETTINGS
    needs = ("coarse", "sampler", "codec_decoder")

    def codebooks(self, record: ComponentRecord) -> tuple[int]:
        """Return all of them."""
        return (record.dim("n_codebooks"),)

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Generate once a seed, batches and settings in turn."""
        books, found = record.dim("n_codebooks"), []
        for i, seed in enumerate(matrix.seeds):
            batch, setting = (
                matrix.batches[i % len(matrix.batches)],
                SETTINGS[i % len(SETTINGS)],
            )
            frames = FRAMES // 2 if setting == "stretched" else FRAMES
            found.append(Case(record.id, seed, batch, frames, books, setting))
        return found

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make codes and mask, and the scalars ``seed`` of the noise and ``setting``.

        Every seventh frame of the coarse codebooks is kept, the rest and all fine ones are
        made anew.

        Returns:
            ``codes`` and ``mask``, int64 [batch, codebooks, frames]; ``setting`` is an index
            in `SETTINGS`.
        """
        shape = (case.batch, case.codebooks, case.length)
        mask = np.ones(shape, np.int64)
        mask[:, : record.dim("n_coarse"), ::_KEPT_EVERY] = 0
        size = record.dim("codebook_size")
        return {
            "codes": Random(case.id).integers(shape, size),
            "mask": mask,
            "seed": np.array(case.seed, np.int64),
            "setting": np.array(SETTINGS.index(case.setting), np.int64),
        }

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Generate in PyTorch; see `run_generation`."""
        return run_generation(record, inputs, models)

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Look for the first step that differs; see `compare_generation`."""
        return compare_generation(record, expected, export, ties)

    def whole(self, manifest: Manifest) -> ComponentRecord | None:
        """Return the record of whole generations; None if a part of them is missing."""
        return generation_record(self.names[0], "", self._parts(manifest), self.needs)

    def wanted(self, manifest: Manifest) -> bool:
        """Whether there are transformers in float32: in bf16 it is another whole."""
        return any(
            not part.variant.endswith(BFLOAT16)
            for part in manifest.components
            if part.name in TRANSFORMERS
        )

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
        """Return what generates on the pipeline."""
        return exported_generation(
            artifacts, record, adapters=adapters, runtime=runtime, opened_by=opened_by
        )

    def _parts(self, manifest: Manifest) -> list[ComponentRecord]:
        return parts_there(manifest, (*self.needs, _FINE))


SUBJECTS = (Generation(),)
