"""What a graph loses by leaving only some of its products in float32."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.machine import cores
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.components.transformer import example_codes
from vampnet_onnx.export.onnx_file import graph_bytes, read_component
from vampnet_onnx.export.passes.base import PassError
from vampnet_onnx.export.variants.forms import (
    Form,
    errors_of_products,
    require_form,
    weight_bytes,
    weights_as_inputs,
    write_form,
)
from vampnet_onnx.export.variants.rewriting import products, weight_of
from vampnet_onnx.verify.numbers.metrics import form_metrics, is_clear

from .cases import Masked

Left = frozenset[str]


@dataclass(frozen=True)
class Cost:
    """What a form loses against float32, in the worst of the masks.

    Attributes:
        agreement: share of positions with the same best entry, of those where float32's best
            is no near-tie.
        kl_nats: mean KL divergence of what tokens are drawn from.
    """

    agreement: float
    kl_nats: float


class Measured:
    """A transformer in one form, measured with any of its products in float32.

    The reference is its float32 file, which its own gates hold to PyTorch.

    Attributes:
        errors: relative error of every product by itself, by the name of its weight, as export
            measures it.
        bytes: of every weight in float32.
        positions: by mask, how many positions count for the agreement.
    """

    def __init__(
        self, record: ComponentRecord, path: Path, form: Form, cases: Sequence[Masked]
    ) -> None:
        self._record, self._form, self._cases = record, form, cases
        self._model = read_component(record, path)
        self.float32_bytes = weight_bytes(self._model)
        (given,) = record.inputs
        example = example_codes(record.dim("n_codebooks"), record.dim("vocab_size"))
        self.errors = errors_of_products(self._model, form, {given.name: example.numpy()})
        written = self._written(frozenset(self.errors))
        shapes = {name: shape for name, _, shape in map(weight_of, products(written.graph))}
        self.bytes = {name: 4 * width * out for name, (width, out) in shapes.items()}

    @cached_property
    def _reference(self) -> dict[str, np.ndarray]:
        model = self._model.clone()
        return self._logits(model, weights_as_inputs(model))

    @property
    def positions(self) -> dict[str, int]:
        """How many positions count for the agreement, by mask."""
        return {mask: int(is_clear(x, 0).sum()) for mask, x in self._reference.items()}

    def alone(self, name: str | None) -> Cost:
        """Measure one product in the form and the others in float32; or all, and the rest."""
        left = frozenset(self.errors) - {name}
        model = self._written(left)
        return self._cost(model, weights_as_inputs(model, left))

    def is_form(self, left: Left) -> bool:
        """Return whether the form would be one that left these: smaller, and of its kind."""
        try:
            require_form(self._written(left), self._form, self.float32_bytes)
        except (PassError, InputError):
            return False
        return True

    def combined(self, left: Left) -> Cost:
        """Measure the form that leaves these, as it would be in its file.

        Raises:
            InputError: it would not be smaller.
        """
        model = self._written(left)
        require_form(model, self._form, self.float32_bytes)
        return self._cost(model, {})

    def form_bytes(self, left: Left) -> int:
        """Return the bytes of weights of the form that leaves these."""
        return weight_bytes(self._written(left))

    def _written(self, left: Left) -> ir.Model:
        model = self._model.clone()
        write_form(model, self._form, left)
        return model

    def _cost(self, model: ir.Model, weights: Mapping[str, np.ndarray]) -> Cost:
        found = self._logits(model, weights)
        each = [form_metrics(r, found[mask], axis=0) for mask, r in self._reference.items()]
        return Cost(
            1 - _largest([one["disagreement"] for one in each]),
            _largest([one["kl_nats"] for one in each]),
        )

    def _logits(
        self, model: ir.Model, weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return logits where tokens would be drawn, float32 [vocabulary, positions], by mask.

        Args:
            weights: what is fed to the graph besides codes.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = cores()
        options.log_severity_level = 4  # errors come as exceptions
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(
            graph_bytes(model), options, providers=["CPUExecutionProvider"]
        )
        (given,) = self._record.inputs
        found: dict[str, list[np.ndarray]] = {}
        for case in self._cases:
            (logits,) = session.run(None, {given.name: case.codes, **weights})
            found.setdefault(case.mask, []).append(logits[0][:, case.drawn(self._record)])
        return {mask: np.concatenate(parts, axis=1) for mask, parts in found.items()}


def _largest(values: Collection[float]) -> float:
    """Return the largest value; NaN if one is."""
    return float(np.max(list(values)))
