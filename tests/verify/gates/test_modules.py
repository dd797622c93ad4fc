"""Modules by themselves: sound ones are within their rounding, what outputs hide is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.edited import edited, replanted
from tests.support.exports import record_of
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.gates.modules import modules
from vampnet_onnx.verify.subjects.registry import subject_of

KEY = "transformer.layers.0.self_attn.w_ks"
POSITION_BIAS = "transformer.layers.0.self_attn.relative_attention_bias"


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "component", ["codec_encoder", "codec_decoder", "coarse", "coarse.latents", "c2f"]
)
def test_every_module_of_a_sound_file_is_within_its_rounding(
    nano_artifacts: Artifacts, models: ModelSet, component: str, seed: int
) -> None:
    record = record_of(nano_artifacts, component)
    path = nano_artifacts.path(record)
    found = modules(models, record, path, load_gates().modules, seed=seed)
    assert 0 < found.value < 1 and not found.message


def test_frames_that_are_as_many_as_a_weight_is_wide_raise_no_alarm(
    nano_artifacts: Artifacts, models: ModelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = record_of(nano_artifacts, "c2f")
    width = models.transformers["c2f"].dims.vocab_size
    monkeypatch.setattr(subject_of(record), "probe_frames", width)
    found = modules(models, record, nano_artifacts.path(record), load_gates().modules)
    assert 0 < found.value < 1


@pytest.mark.parametrize("component", ["sampler", "mask_generator", "audio_processor"])
def test_what_is_built_is_compared_with_what_is_built_now(
    exported_a: Path, golden_a: GoldenSet, component: str
) -> None:
    artifacts = open_artifacts(exported_a)
    record, rule = record_of(artifacts, component), load_gates().modules
    assert modules(golden_a.models, record, artifacts.path(record), rule).value == 0


def row(index: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., np.ndarray]:
    def changed(weight: np.ndarray) -> np.ndarray:
        found = weight.copy()
        found[index] = change(found[index])
        return found

    return changed


def column(weight: np.ndarray) -> np.ndarray:
    found = weight.copy()
    found[..., 4] *= np.float32(1.01)
    return found


def half(weight: np.ndarray) -> np.ndarray:
    return weight.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize(
    "component, name, change, module",
    [
        ("coarse", "embedding.tables.1", row(7, np.negative), "embedding"),
        ("coarse", "embedding.tables.1", row(11, half), "embedding"),  # of the mask token
        ("coarse", f"{KEY}.weight", column, KEY),
        # The farthest distances, behind and ahead: no few frames are so far apart.
        ("coarse", f"{POSITION_BIAS}.weight", row(0, half), POSITION_BIAS),
        ("coarse.latents", f"{POSITION_BIAS}.weight", row(-1, half), POSITION_BIAS),
        ("codec_decoder", "quantizer.tables", row(2, half), "quantizer"),
        ("codec_decoder", "decoder.model.0.bias", lambda x: x * np.float32(1.01), None),
        (
            "codec_encoder",
            "quantizer.quantizers.1.codebook",
            row(3, np.negative),
            "quantizer.quantizers.1",
        ),
    ],
)
def test_a_small_mistake_is_seen_where_it_is(
    nano_artifacts: Artifacts,
    models: ModelSet,
    tmp_path: Path,
    component: str,
    name: str,
    change: Callable[[np.ndarray], np.ndarray],
    module: str | None,
) -> None:
    record = record_of(nano_artifacts, component)
    path = edited(nano_artifacts.path(record), name, change, tmp_path)
    found = modules(models, record, path, load_gates().modules)
    wanted = module or name.rpartition(".")[0]
    assert found.value > 1 and found.modules[0] == wanted and wanted in found.message


@pytest.mark.parametrize("factor, every", [(10, False), (0.01, True)])
def test_a_wrong_epsilon_is_seen(
    nano_artifacts: Artifacts, models: ModelSet, tmp_path: Path, factor: float, every: bool
) -> None:
    record = record_of(nano_artifacts, "coarse")

    def plant(model: ir.Model) -> None:
        for node in [n for n in model.graph if "norm_1/Add" in n.name or every]:
            for value in node.inputs:
                if node.op_type != "Add" or value is None or value.const_value is None:
                    continue
                if "norm" in str(node.name) and value.const_value.size == 1:
                    scaled = value.const_value.numpy() * np.float32(factor)
                    new = ir.Value(name=f"{node.name}/eps", const_value=ir.tensor(scaled))
                    new.const_value.name = new.name  # type: ignore[union-attr]
                    model.graph.register_initializer(new)
                    node.replace_input_with(list(node.inputs).index(value), new)

    path = replanted(nano_artifacts.path(record), plant, tmp_path)
    found = modules(models, record, path, load_gates().modules)
    assert found.value > 1 and "norm" in found.modules[0]
    assert len(found.modules) > 1 or not every


def test_what_is_not_a_number_on_both_sides_is_no_mistake(
    exported_a: Path, golden_a: GoldenSet
) -> None:
    """Scores of filtered entries are infinite inside, and what they make is not a number."""
    artifacts = open_artifacts(exported_a)
    record, rule = record_of(artifacts, "sampler"), load_gates().modules
    path = artifacts.path(record)
    assert [modules(golden_a.models, record, path, rule, seed=s).value for s in (1, 3)] == [
        0,
        0,
    ]


def test_what_is_built_otherwise_today_is_not_red_for_it(
    exported_a: Path, golden_a: GoldenSet, tmp_path: Path
) -> None:
    """Values of another make have other names: there is nothing to lay them beside."""

    def rename(model: ir.Model) -> None:
        for node in model.graph:
            if node.metadata_props["vampnet_onnx.module"].startswith("remask"):
                for value in node.outputs:
                    if value not in model.graph.outputs:
                        value.name = f"{value.name}:then"

    artifacts = open_artifacts(exported_a)
    record, rule = record_of(artifacts, "sampler"), load_gates().modules
    path = replanted(artifacts.path(record), rename, tmp_path)
    found = modules(golden_a.models, record, path, rule)
    assert found.value <= 1 and "remask" in found.doubt
