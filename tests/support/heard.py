"""Variations of the packaged clip by the demo set, and by a form of its coarse model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from tests.support.exports import session
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.manifest import ComponentRecord, FileRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.gates.case import satisfies
from vampnet_onnx.verify.subjects.case import Case, Comparison, Computed
from vampnet_onnx.verify.subjects.codec import codec_of
from vampnet_onnx.verify.subjects.generation_form.reference import token_models, vary
from vampnet_onnx.verify.subjects.registry import subject_of


def record_for(models: ModelSet, form: str = "int8") -> ComponentRecord:
    """Return the record of a form's generations, of no files."""
    dims, n_coarse = codec_of(models).dims, models.transformers["coarse"].dims.n_codebooks
    return ComponentRecord(
        name="generation",
        variant=form,
        file=FileRecord(name="none", sha256="", size=0),
        inputs=(),
        outputs=(),
        opset=20,
        dims={
            "n_codebooks": dims.n_codebooks,
            "codebook_size": dims.codebook_size,
            "sample_rate": dims.sample_rate,
            "hop_length": dims.hop_length,
            "n_coarse": n_coarse,
            "n_fine": dims.n_codebooks - n_coarse,
        },
        passes=(),
    )


@dataclass(frozen=True)
class Heard:
    """What the reference made of the clip, and what others are compared with."""

    models: ModelSet
    record: ComponentRecord
    case: Case
    reference: Computed

    def compare(self, outputs: Mapping[str, np.ndarray]) -> Comparison:
        return subject_of(self.record).compare(
            self.record, self.reference, outputs, load_gates().ties
        )

    def by(self, coarse: Path) -> Comparison:
        """Compare what a file of coarse gives, with the reference's c2f and codec."""
        parts, codec = token_models(self.models, fine=True), codec_of(self.models)
        opened = session(coarse)

        def logits(codes: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(opened.run(["logits"], {"codes": codes.numpy()})[0])

        parts["coarse"] = replace(parts["coarse"], logits=logits)
        inputs = subject_of(self.record).inputs(self.record, self.case)
        with torch.inference_mode():
            tokens = vary(self.record, inputs, codec, parts).tokens
            audio = codec.decode_requantised(tokens).numpy()
        return self.compare({"tokens": tokens.numpy(), "audio": audio})

    def broken(self, found: Comparison) -> set[str]:
        """Return the gates whose shipped limit a comparison does not hold."""
        rules = load_gates().for_component("generation", self.record.variant)
        measured = {name: rule for name, rule in rules.items() if name in found.metrics}
        assert len(measured) == 5
        return {
            name
            for name, rule in measured.items()
            if not satisfies(found.metrics[name], rule, rule.limit)
        }
