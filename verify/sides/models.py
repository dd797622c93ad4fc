"""Our models as oracle: the networks of ``models/`` as published, before any pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.subjects.case import Arrays, Case, Computed
from vampnet_onnx.verify.subjects.registry import subject_of


def seeded_inputs(record: ComponentRecord, case: Case) -> Arrays:
    """Return the inputs that a case's seed gives."""
    return subject_of(record).inputs(record, case)


class Reference:
    """Runs components on PyTorch."""

    description = "models/ in PyTorch, pinned to the published packages by golden sets"

    def __init__(
        self,
        models: ModelSet,
        inputs: Callable[[ComponentRecord, Case], Arrays] = seeded_inputs,
    ) -> None:
        """Take the models to run, and where their inputs come from."""
        self._models = models
        self.inputs = inputs

    @cached_property
    def in_float64(self) -> Reference:
        """The same models in float64, made when first asked for."""
        codec, transformers = self._models.codec, self._models.transformers
        tracker = self._models.tracker
        double = replace(
            self._models,
            codec=copy.deepcopy(codec).double() if codec is not None else None,
            transformers={n: copy.deepcopy(m).double() for n, m in transformers.items()},
            tracker=copy.deepcopy(tracker).double() if tracker is not None else None,
        )
        return Reference(double, self.inputs)

    def knows(self, record: ComponentRecord) -> bool:
        """Whether it computes a component: all of them."""
        return True

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the seeded cases of the matrix."""
        return subject_of(record).cases(record, matrix)

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case that cannot be made."""
        subject_of(record).require(record, case)

    def run(self, record: ComponentRecord, case: Case) -> Computed:
        """Compute what a component gives in a case."""
        with torch.inference_mode():
            return subject_of(record).reference(
                record, self._models, self.inputs(record, case)
            )


def codebook_tables(models: ModelSet) -> list[np.ndarray]:
    """Return the entries of each codebook, float [entries, width]; none without a codec."""
    if models.codec is None:
        return []
    quantizer = models.codec.quantizer
    books = range(len(quantizer.codebook_dims))
    return [quantizer.book(i).codebook.weight.numpy() for i in books]
