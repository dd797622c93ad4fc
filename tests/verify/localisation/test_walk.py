"""Localisation names the module that introduces an error, and no module of a sound export."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.export_set import annotate, component_record
from vampnet_onnx.export.exporter import export_component
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.verify.localisation.bundle import Facts, replay, write_bundle
from vampnet_onnx.verify.localisation.float64 import float64_twin
from vampnet_onnx.verify.localisation.graph import GraphModules
from vampnet_onnx.verify.localisation.nonfinite import (
    CHECKPOINT_ALONE,
    EXPORT,
    NEITHER,
    find_birth,
)
from vampnet_onnx.verify.localisation.request import (
    Request,
    locate,
    locate_between,
    reference_source,
    run_request,
)
from vampnet_onnx.verify.localisation.torch_source import TorchSource
from vampnet_onnx.verify.self_test.defects import ModuleDefect, all_defects
from vampnet_onnx.verify.self_test.run import chosen_defects, run_defect, run_sound
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of

# One of each kind: a module lost, a module wrong, a weight wrong, a graph edited, a graph that
# does not run, an axis renamed, an export refused.
PLANTED_HERE = [
    "MissingFeedForwardNorm",
    "NormEpsilonTenfold",
    "WeightOnePercentOff",
    "SoftmaxOverQueries",
    "NaNAtOnePosition",
    "AxisNamedWrong",
    "MaskTokenSampleable",
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    folder = tmp_path_factory.mktemp("tiny")
    write_random_set(folder, like="tiny", seed=0)
    return open_models(folder)


@pytest.fixture(scope="module")
def sound(tiny: ModelSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A sound export of c2f: its record, file, and an input."""
    exported = export_component(build_component("c2f", tiny))
    folder = tmp_path_factory.mktemp("sound")
    path, annotated = folder / "plain.onnx", folder / "c2f.onnx"
    record = component_record(exported, *save_graph(exported.model, path))
    annotate(exported, "tiny", [], {})
    save_graph(exported.model, annotated)
    inputs = subject_of(record).inputs(record, Case("c2f", 17, 2, 24))
    return {"record": record, "path": path, "annotated": annotated, "inputs": inputs}


@pytest.mark.parametrize("name", PLANTED_HERE)
def test_a_planted_defect_is_caught_and_its_module_named(tiny: ModelSet, name: str) -> None:
    trial = run_defect(tiny, *chosen_defects([name]))
    assert trial.caught, f"{name} slipped through the gates"
    assert trial.right, f"{name} was planted in {trial.culprit}, but {trial.named} was named"


def test_planting_a_defect_leaves_the_reference_as_it_was(tiny: ModelSet) -> None:
    before = {n: p.clone() for n, p in tiny.transformers["coarse"].named_parameters()}
    for defect in all_defects():
        if defect.component == "coarse" and isinstance(defect, ModuleDefect):
            defect.plant(build_component("coarse", tiny).module)
    after = dict(tiny.transformers["coarse"].named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_defect_has_a_name_and_a_description_of_its_own() -> None:
    defects = all_defects()
    assert len(defects) == 85
    assert len({defect.name for defect in defects}) == len(defects)
    assert len({defect.description for defect in defects}) == len(defects)


def test_no_module_of_a_sound_export_is_named(tiny: ModelSet, sound: dict) -> None:
    found = locate(tiny, sound["record"], sound["path"], sound["inputs"])
    assert found.culprits == ()
    assert len(found.findings) > 20
    assert all(finding.error < 1e-5 for finding in found.findings)


def test_sound_exports_raise_no_alarm_over_many_seeds(tiny: ModelSet) -> None:
    runs, alarms = run_sound(tiny, "c2f", runs=100)
    assert runs >= 100
    assert alarms == []


def test_two_versions_of_a_graph_are_compared_module_by_module(
    sound: dict, tmp_path: Path
) -> None:
    model = ir.load(sound["path"])
    weight = model.graph.initializers["transformer.layers.0.feed_forward.w_2.weight"]
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.001))
    edited = tmp_path / "edited.onnx"
    save_graph(model, edited)
    assert locate_between(sound["path"], sound["path"], sound["inputs"]).culprits == ()
    found = locate_between(sound["path"], edited, sound["inputs"])
    assert found.culprits == ("transformer.layers.0.feed_forward.w_2",)


def scaled(sound: dict, name: str, factor: float, folder: Path) -> Path:
    """Save the sound graph with one weight scaled."""
    model = ir.load(sound["path"])
    weight = model.graph.initializers[name]
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(factor))
    save_graph(model, folder / "edited.onnx")
    return folder / "edited.onnx"


REQUEST = Request(
    artifacts=Path(),
    new=None,
    checkpoint=None,
    recorded=False,
    component=None,
    seed=0,
    length=None,
    batch=2,
    lora={},
    unsealed=False,
)


def test_two_plain_files_are_compared_by_the_facts_in_them(
    tiny: ModelSet, sound: dict, tmp_path: Path
) -> None:
    exported = sound["annotated"]
    edited = tmp_path / "edited.onnx"
    model = ir.load(exported)
    weight = model.graph.initializers["transformer.layers.1.self_attn.fc.weight"]
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.01))
    save_graph(model, edited)
    found = run_request(replace(REQUEST, artifacts=exported, new=edited))
    assert found.component == "c2f" and set(found.unvouched) == {"c2f.onnx", "edited.onnx"}
    assert found.localisation.culprits == ("transformer.layers.1.self_attn.fc",)
    with pytest.raises(InputError, match="holds c2f, not coarse"):
        run_request(replace(REQUEST, artifacts=exported, new=edited, component="coarse"))
    with pytest.raises(InputError, match="holds no facts of this tool"):
        run_request(replace(REQUEST, artifacts=sound["path"], new=edited))


def test_a_walk_in_small_stages_finds_what_one_in_a_single_stage_finds(
    tiny: ModelSet, sound: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "transformer.layers.1.feed_forward.w_1"
    edited = scaled(sound, f"{name}.weight", 1.001, tmp_path)
    whole = locate(tiny, sound["record"], edited, sound["inputs"])
    monkeypatch.setattr(
        "vampnet_onnx.verify.localisation.torch_source.STAGE_BYTES", 30_000
    )  # a layer has 47 kB
    with reference_source(tiny, sound["record"], sound["inputs"]) as source:
        seen: list[int] = []
        source.stream(lambda trace: seen.append(len(trace.modules)))
        assert len(source.stages) > 8 and max(seen) <= 6
    staged = locate(tiny, sound["record"], edited, sound["inputs"])
    assert staged.culprits == whole.culprits == (name,)
    assert {f.path for f in staged.findings} == {f.path for f in whole.findings}
    assert locate(tiny, sound["record"], sound["path"], sound["inputs"]).culprits == ()
    between = locate_between(sound["path"], edited, sound["inputs"])
    assert between.culprits == (name,)


def test_a_layer_left_out_is_named_whatever_the_stages(
    tiny: ModelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vampnet_onnx.verify.localisation.torch_source.STAGE_BYTES", 100_000)
    trial = run_defect(tiny, *chosen_defects(["LayerDropped"]))
    assert trial.caught and trial.right, trial.named


def test_a_float64_twin_computes_what_a_cast_module_does(
    tiny: ModelSet, sound: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = build_component("c2f", tiny).module.eval()
    monkeypatch.setattr("vampnet_onnx.verify.localisation.float64._AT_ONCE_BYTES", 2_000)
    codes = torch.from_numpy(sound["inputs"]["codes"])
    with torch.inference_mode():
        found = float64_twin(module)(codes)
        assert found.dtype == torch.float64
        assert torch.equal(found, copy.deepcopy(module).double()(codes))
    assert all(p.dtype == torch.float32 for p in module.parameters())


def test_the_first_node_that_makes_a_nan_is_named_and_the_export_blamed(
    tiny: ModelSet, sound: dict, tmp_path: Path
) -> None:
    model = ir.load(sound["path"])
    weight = model.graph.initializers["transformer.layers.1.norm_1.weight"]
    weight.const_value = ir.tensor(np.full_like(weight.const_value.numpy(), np.inf))
    edited = tmp_path / "edited.onnx"
    save_graph(model, edited)
    with reference_source(tiny, sound["record"], sound["inputs"]) as source:
        birth = find_birth(source, GraphModules(edited))
        assert find_birth(source, GraphModules(sound["path"])).verdict == NEITHER
    assert birth.verdict == EXPORT
    assert birth.node_module == "transformer.layers.1.norm_1"
    assert birth.operator == "Mul"


def test_a_checkpoint_that_overflows_is_told_from_an_export_that_does(
    tiny: ModelSet, sound: dict
) -> None:
    module = build_component("c2f", tiny).module.eval()
    layer = module.get_submodule("transformer.layers.0.norm_3")
    layer.weight = torch.nn.Parameter(torch.full_like(layer.weight, 1e38), requires_grad=False)
    overflowing = TorchSource(module, sound["inputs"], frozenset)
    birth = find_birth(overflowing, GraphModules(sound["path"]))
    assert birth.verdict == CHECKPOINT_ALONE
    assert birth.module.startswith("transformer.layers.0")


def test_a_bundle_replays_the_culprit_by_itself(
    tiny: ModelSet, sound: dict, tmp_path: Path
) -> None:
    model = ir.load(sound["path"])
    weight = model.graph.initializers["transformer.layers.0.self_attn.w_vs.weight"]
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.01))
    edited = tmp_path / "edited.onnx"
    save_graph(model, edited)
    found = locate(tiny, sound["record"], edited, sound["inputs"])
    assert found.culprits[0] == "transformer.layers.0.self_attn.w_vs"
    assert found.cut_out is not None
    write_bundle(tmp_path / "bundle", Facts("c2f", found.culprits[0], "", 0.01), found.cut_out)
    replayed = replay(tmp_path / "bundle")
    assert replayed.same
    assert replayed.error == pytest.approx(0.01, rel=1e-3)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a bundle"):
        replay(tmp_path)
