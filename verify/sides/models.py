"""The oracle: the networks of ``models/``, with the reference's own margins beside outputs.

`Oracle` is what verification asks of any of the three: this one, the published packages
(`verify.sides.upstream`) and a recorded set (`verify.sides.recorded`).

`Reference` runs the published forward as it stands, before any pass of the exporter.  Margins
are taken by watching the quantisers, never by walking the layers a second time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import LAC, ModelSet
from vampnet_onnx.models.networks.quantize import VectorQuantize
from vampnet_onnx.verify.numbers.ties import top_two_margin
from vampnet_onnx.verify.subjects.computed import Computed
from vampnet_onnx.verify.subjects.drawn_cases import DRAWN
from vampnet_onnx.verify.subjects.drawn_reference import run_drawn
from vampnet_onnx.verify.subjects.generation.both_sides import run_generation
from vampnet_onnx.verify.subjects.generation.cases import GENERATION
from vampnet_onnx.verify.subjects.registry import Case, cases_for, make_inputs


class Oracle(Protocol):
    """What artifacts are compared with."""

    @property
    def description(self) -> str:
        """What reports say of it."""

    @property
    def in_float64(self) -> Oracle:
        """The same in double precision, to measure its own rounding."""

    def knows(self, component: ComponentRecord) -> bool:
        """Whether it has anything to compare a component with."""

    def cases(self, component: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the cases it can compute."""

    def inputs(self, case: Case, component: ComponentRecord) -> dict[str, np.ndarray]:
        """Return the input arrays of a case, by the component's input names."""

    def run(self, component: ComponentRecord, inputs: Mapping[str, np.ndarray]) -> Computed:
        """Compute a component's outputs."""


class Reference:
    """Runs components on PyTorch."""

    description = "models/ in PyTorch, pinned to the published packages by golden sets"

    def __init__(self, models: ModelSet) -> None:
        """Take the models to run."""
        self._models = models

    @cached_property
    def in_float64(self) -> Reference:
        """The same models in float64, made when first asked for."""
        models = self._models
        return Reference(
            ModelSet(
                models.folder,
                copy.deepcopy(models.codec).double() if models.codec is not None else None,
                {name: copy.deepcopy(m).double() for name, m in models.transformers.items()},
                models.sources,
            )
        )

    def knows(self, component: ComponentRecord) -> bool:
        """Whether it computes a component: all of them."""
        return True

    def cases(self, component: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the seeded cases of the matrix."""
        return cases_for(component, matrix)

    def inputs(self, case: Case, component: ComponentRecord) -> dict[str, np.ndarray]:
        """Return the seeded inputs of a case."""
        return make_inputs(case, component)

    def run(self, component: ComponentRecord, inputs: Mapping[str, np.ndarray]) -> Computed:
        """Compute a component's outputs.

        Args:
            component: from the manifest.
            inputs: arrays by the component's input names.

        Raises:
            FloatingPointError: in a generation, where logits are not finite.
        """
        with torch.inference_mode():
            if component.name in DRAWN:
                return run_drawn(component, inputs, self._codec().dims)
            if component.name == GENERATION:
                return run_generation(component, inputs, self._models)
            if component.name == "codec_encoder":
                return self._encode(self._tensor(inputs["audio"]))
            if component.name == "codec_decoder":
                audio = self._codec().decode_codes(self._tensor(inputs["codes"]))
                return Computed({"audio": audio.numpy()})
            model = self._models.transformers[component.name]
            if component.variant:
                logits = model(self._tensor(inputs["latents"]))
            else:
                codes = self._tensor(inputs["codes"])
                logits = model.forward_codes(codes, self._codec().quantizer)
            return Computed({"logits": logits.numpy()}, top_two_margin(logits.numpy(), axis=1))

    def _encode(self, audio: Tensor) -> Computed:
        with _watched_margins(self._codec()) as margins:
            encoded = self._codec().encode(audio)
        outputs = {"codes": encoded.codes.numpy(), "latents": encoded.latents.numpy()}
        return Computed(outputs, np.stack(margins, axis=1))

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

    @property
    def _dtype(self) -> torch.dtype:
        models = (self._models.codec, *self._models.transformers.values())
        return next(next(m.parameters()).dtype for m in models if m is not None)

    def _codec(self) -> LAC:
        if self._models.codec is None:
            raise ValueError("the reference needs codec.pth")
        return self._models.codec


@contextmanager
def _watched_margins(codec: LAC) -> Iterator[list[np.ndarray]]:
    """Collect each codebook's margin (float [B, T]) while the codec encodes."""
    margins: list[np.ndarray] = []

    def watch(
        module: nn.Module, _inputs: object, output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        assert isinstance(module, VectorQuantize)
        scores = -module.distances(output[2])
        margins.append(top_two_margin(scores.numpy(), axis=-1))

    hooks = [book.register_forward_hook(watch) for book in codec.quantizer.quantizers]
    try:
        yield margins
    finally:
        for hook in hooks:
            hook.remove()
