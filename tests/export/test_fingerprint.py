"""The digests of a graph: those of its file, and moved by whatever is changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.export.fingerprint import fingerprint
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.causes.fresh import fresh_export

WEIGHT = "transformer.layers.0.norm_1.weight"


def test_a_file_has_the_digests_of_what_was_exported(
    nano_artifacts: Artifacts, models: ModelSet
) -> None:
    record = record_of(nano_artifacts, "coarse")
    file = ir.load(nano_artifacts.path(record))
    before = list(file.graph.initializers)
    assert fingerprint(file) == fingerprint(fresh_export(models, record, adaptable=False))
    assert list(file.graph.initializers) == before


def last_bit(model: ir.Model) -> None:
    array = model.graph.initializers[WEIGHT].const_value.numpy().copy()  # type: ignore[union-attr]
    array[3] = np.nextafter(array[3], np.float32(np.inf))
    model.graph.initializers[WEIGHT].const_value = ir.tensor(array, name=WEIGHT)


def an_axis(model: ir.Model) -> None:
    node = next(node for node in model.graph if node.op_type == "Softmax")
    node.attributes["axis"] = ir.AttrInt64("axis", 1)


def a_path(model: ir.Model) -> None:
    model.graph[3].metadata_props["vampnet_onnx.module"] = "elsewhere"


def an_opset(model: ir.Model) -> None:
    model.opset_imports[""] = 19


@pytest.mark.parametrize(
    "change, weights",
    [(last_bit, {WEIGHT}), (an_axis, set()), (a_path, set()), (an_opset, set())],
)
def test_whatever_is_changed_moves_a_digest(
    nano_artifacts: Artifacts, change: Callable[[ir.Model], None], weights: set[str]
) -> None:
    path = nano_artifacts.path(record_of(nano_artifacts, "coarse"))
    sound, changed = fingerprint(ir.load(path)), ir.load(path)
    change(changed)
    found = fingerprint(changed)
    differing = {n for n, digest in sound.weights.items() if found.weights[n] != digest}
    assert differing == weights and (found.graph != sound.graph) == (not weights)
