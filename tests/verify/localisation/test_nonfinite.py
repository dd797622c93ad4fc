"""Where NaN comes from; and the story of one, whose cause the verification itself says.

Earlier exports left out the norm before the feed-forward.  Activations then square from layer
to layer, until some seeds overflow and others do not, and the model was blamed for it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.support.edited import scaled
from tests.support.exports import export_to, record_of
from tests.support.planting import Sound
from tests.support.records import matrix
from tests.support.sets import NANO
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.graph import MODULE_KEY
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file
from vampnet_onnx.reports import Report
from vampnet_onnx.verify.causes.locate import reference_source
from vampnet_onnx.verify.gates.processes import Elsewhere, in_processes
from vampnet_onnx.verify.localisation.graph import GraphModules
from vampnet_onnx.verify.localisation.nonfinite import (
    CHECKPOINT_ALONE,
    EXPORT,
    NEITHER,
    find_birth,
)
from vampnet_onnx.verify.localisation.torch_source import TorchSource
from vampnet_onnx.verify.verification import verify_artifacts

LAYERS = 3
# Of the feed-forward's weights: without the norm, one seed in three or so overflows.
SCALE = 60
SEEDS = list(range(10))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loud")
    write_random_file(folder / "codec.pth", NANO["codec"], seed=0)
    write_random_file(folder / "c2f.pth", {**NANO["c2f"], "n_layers": LAYERS}, seed=1)
    content = torch.load(folder / "c2f.pth", weights_only=True)
    for name, weight in content["state_dict"].items():
        if "feed_forward" in name:
            weight *= SCALE if name.endswith("weight") else 1
    torch.save(content, folder / "c2f.pth")
    return folder


@pytest.fixture(scope="module")
def with_norm(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    folder = tmp_path_factory.mktemp("sound") / "v1"
    return export_to(folder, checkpoint, components=("c2f",), inputs=("codes",))


@pytest.fixture(scope="module")
def without_norm(with_norm: Artifacts) -> Artifacts:
    """The sound export with every norm before a feed-forward taken out."""
    path = with_norm.path(record_of(with_norm, "c2f"))
    model = ir.load(path)
    for layer in range(LAYERS):
        inside = f"transformer.layers.{layer}.norm_3"
        nodes = [n for n in model.graph if n.metadata_props.get(MODULE_KEY) == inside]
        taken = next(v for v in nodes[0].inputs if v is not None and not v.is_initializer())
        ir.convenience.replace_all_uses_with(nodes[-1].outputs[0], taken)
        for node in reversed(nodes):
            model.graph.remove(node, safe=True)
        del model.graph.initializers[f"{inside}.weight"]
    folder = path.parent.parent / "without"
    folder.mkdir()
    save_graph(model, folder / path.name)
    (folder / "manifest.json").write_bytes((path.parent / "manifest.json").read_bytes())
    return open_artifacts(folder, unsealed=True)


def verified(
    artifacts: Artifacts,
    checkpoint: Path,
    *,
    elsewhere: Elsewhere | None = None,
    exit_first: bool = False,
) -> Report:
    return verify_artifacts(
        artifacts,
        Checkpoints(checkpoint),
        matrix=matrix(seeds=SEEDS, frames=[13], batches=[1]),
        gates=load_gates(),
        toolchain={},
        localise_seconds=60,
        elsewhere=elsewhere,
        exit_first=exit_first,
        progress=lambda *_: None,
    )


@pytest.fixture(scope="module")
def report(without_norm: Artifacts, checkpoint: Path) -> Report:
    return verified(without_norm, checkpoint)


def test_the_sound_export_of_the_same_checkpoint_is_finite_for_every_seed(
    with_norm: Artifacts, checkpoint: Path
) -> None:
    found = verified(with_norm, checkpoint)
    assert found.verdict == "PASS"
    assert found.components[0].metrics["nonfinite"] == 0


def test_one_command_blames_the_export_and_names_what_it_lacks(report: Report) -> None:
    bad = [c.seed for c in report.components[0].cases if c.nonfinite_export]
    assert 0 < len(bad) < len(SEEDS), "not seed-dependent"
    (note,) = [note for note in report.notes if "not finite" in note]
    assert f"with {len(bad)} of {len(SEEDS)} seeds" in note
    assert "the export does it: PyTorch is finite on this input" in note
    assert "first node of the export" in note and "feed_forward" in note
    assert "transformer.layers.0.norm_3" in note and "missing" in note


def test_every_bad_seed_is_listed_with_the_command_that_runs_it_again(report: Report) -> None:
    (part,) = report.components
    assert [bad.seed for bad in part.bad_seeds] == SEEDS  # without the norm, no seed is right
    overflowing = {bad.seed for bad in part.bad_seeds if bad.nonfinite_export}
    assert overflowing == {c.seed for c in part.cases if c.nonfinite_export}
    for bad in part.bad_seeds:
        assert bad.worst_case == f"c2f/seed={bad.seed}/batch=1/length=13"
        assert bad.worst_case in bad.replay
        assert bad.failed == bad.cases == 1 and bad.nonfinite_reference == 0


def test_processes_find_what_one_finds_and_stop_when_asked(
    without_norm: Artifacts, checkpoint: Path, report: Report
) -> None:
    many = verified(without_norm, checkpoint, elsewhere=partial(in_processes, jobs=2))

    def found(made: Report) -> list[str]:  # as text, where NaN is like NaN
        return [
            str(case.model_copy(update={"seconds": 0})) for case in made.components[0].cases
        ]

    assert found(many) == found(report)
    assert str(many.components[0].heat_map) == str(report.components[0].heat_map)
    first = verified(without_norm, checkpoint, exit_first=True)
    assert len(first.components[0].cases) == 1
    assert any("stopped at the first failure" in note for note in first.notes)


def test_the_first_node_that_makes_a_nan_is_named_and_the_export_blamed(
    tiny: ModelSet, sound: Sound, tmp_path: Path
) -> None:
    edited = scaled(sound.path, "transformer.layers.1.norm_1.weight", np.inf, tmp_path)
    with reference_source(tiny, sound.record, sound.inputs) as source:
        birth = find_birth(source, GraphModules(edited))
        assert find_birth(source, GraphModules(sound.path)).verdict == NEITHER
    assert birth.verdict == EXPORT
    assert birth.node_module == "transformer.layers.1.norm_1"
    assert birth.operator == "Mul"


def test_a_checkpoint_that_overflows_is_told_from_an_export_that_does(
    tiny: ModelSet, sound: Sound
) -> None:
    component = build_component("c2f", tiny)
    assert isinstance(component, TracedComponent)
    module = component.module.eval()
    layer = module.get_submodule("transformer.layers.0.norm_3")
    layer.weight = torch.nn.Parameter(torch.full_like(layer.weight, 1e38), requires_grad=False)
    overflowing = TorchSource(module, sound.inputs, frozenset)
    birth = find_birth(overflowing, GraphModules(sound.path))
    assert birth.verdict == CHECKPOINT_ALONE
    assert birth.module.startswith("transformer.layers.0")
