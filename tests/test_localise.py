"""Localisation names the module that introduces an error, and no module of a sound export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from configs.errors import InputError
from export.components import build_component
from export.export_set import component_record
from export.exporter import export_component
from export.onnx_file import save_graph
from models import ModelSet, open_models
from models.random_checkpoint import write_random_set
from verify.bundle import Facts, replay, write_bundle
from verify.cases import Case, make_inputs
from verify.defects import ALL_DEFECTS
from verify.forensics import CHECKPOINT_ALONE, EXPORT, NEITHER, find_birth
from verify.graph_modules import GraphModules
from verify.locate import locate, locate_between, reference_source
from verify.self_test import chosen_defects, run_defect, run_sound
from verify.trace import TorchSource

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
    path = tmp_path_factory.mktemp("sound") / "c2f.onnx"
    record = component_record(exported, *save_graph(exported.model, path))
    inputs = make_inputs(Case("c2f", 17, 2, 24), record)
    return {"record": record, "path": path, "inputs": inputs}


@pytest.mark.parametrize("name", PLANTED_HERE)
def test_a_planted_defect_is_caught_and_its_module_named(tiny: ModelSet, name: str) -> None:
    trial = run_defect(tiny, *chosen_defects([name]))
    assert trial.caught, f"{name} slipped through the gates"
    assert trial.right, f"{name} was planted in {trial.culprit}, but {trial.named} was named"


def test_planting_a_defect_leaves_the_reference_as_it_was(tiny: ModelSet) -> None:
    before = {n: p.clone() for n, p in tiny.transformers["coarse"].named_parameters()}
    for defect in ALL_DEFECTS:
        if defect.component == "coarse" and hasattr(defect, "plant"):
            module = build_component("coarse", tiny).module
            if not defect.name.startswith(
                ("BiasNode", "SoftmaxOver", "WeightsOf", "AxisNamed")
            ):
                defect.plant(module)
    after = dict(tiny.transformers["coarse"].named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_defect_has_a_name_and_a_description_of_its_own() -> None:
    assert len(ALL_DEFECTS) >= 30
    assert len({defect.name for defect in ALL_DEFECTS}) == len(ALL_DEFECTS)
    assert len({defect.description for defect in ALL_DEFECTS}) == len(ALL_DEFECTS)


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
