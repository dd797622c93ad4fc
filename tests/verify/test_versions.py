"""Two versions side by side, and the two runtimes side by side."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.exports import only
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import PassRecord
from vampnet_onnx.export.onnx_file import read_graph, save_beside
from vampnet_onnx.verify.self_test.run import chosen_defects
from vampnet_onnx.verify.versions import VersionChange, compare_versions


@pytest.fixture
def copied(nano_artifacts: Artifacts, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nano_artifacts.folder, tmp_path / "v2"))


def edit(folder: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Artifacts:
    """Change a weight of the coarse model and open the folder as it is."""
    model = onnx.load(str(folder / "coarse.onnx"))
    tensor = next(i for i in model.graph.initializer if i.name == name)
    array = change(numpy_helper.to_array(tensor).copy()).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, str(folder / "coarse.onnx"))
    return open_artifacts(folder, unsealed=True)


def compared(old: Artifacts, new: Artifacts, *names: str) -> VersionChange:
    return compare_versions(only(old, *names), only(new, *names), gates=load_gates())


def test_a_version_agrees_with_its_copy(nano_artifacts: Artifacts, copied: Path) -> None:
    names = ("codec_encoder", "codec_decoder", "coarse")
    found = compared(nano_artifacts, open_artifacts(copied), *names)
    assert found.holds and not found.toolchain and not found.sources_differ
    assert [c.name for c in found.components] == list(names)
    assert all(c.same_file and c.gates and not c.passes for c in found.components)
    assert {g.name for g in found.components[2].gates} >= {"relative_l2", "nonfinite"}


def test_a_weight_that_changed_is_beyond_the_gates(
    nano_artifacts: Artifacts, copied: Path
) -> None:
    new = edit(copied, "transformer.norm.weight", lambda w: w * 1.001)
    found = compared(nano_artifacts, new, "coarse")
    assert not found.holds
    (change,) = found.components
    assert not change.same_file, "the file was edited, whatever its manifest says"
    (what,) = change.graph
    assert str(what) == "transformer.norm.weight scaled by 1.001"
    assert what.relative == pytest.approx(1e-3, rel=1e-2)
    (gate,) = (g for g in found.components[0].gates if g.name == "relative_l2")
    assert not gate.holds and gate.value == pytest.approx(1e-3, rel=0.3)
    assert gate.worst_case.startswith("coarse/seed=")


def test_nan_in_the_new_version_is_beyond_the_gates(
    nano_artifacts: Artifacts, copied: Path
) -> None:
    new = edit(copied, "transformer.norm.weight", lambda w: w * np.nan)
    found = compared(nano_artifacts, new, "coarse")
    failed = {g.name for g in found.components[0].gates if not g.holds}
    assert {"relative_l2", "nonfinite"} <= failed


def test_what_the_manifests_say_differently_is_listed(
    nano_artifacts: Artifacts, copied: Path
) -> None:
    new = open_artifacts(copied)
    changed = new.manifest.model_copy(
        update={"toolchain": {**new.manifest.toolchain, "torch": "0.1"}, "sources": ()}
    )
    (record,) = (r for r in changed.components if r.id == "coarse")
    output = record.outputs[0].model_copy(update={"dtype": "float16"})
    idle = PassRecord(name="MergeLoRA", changed=0, details="merged LoRA into 0 of 18")
    kept = tuple(p for p in record.passes if p.name not in ("Simplify", "CanonicalNames"))
    named = PassRecord(name="CanonicalNames", changed=1, details="named 1 nodes")
    other = record.model_copy(update={"outputs": (output,), "passes": (idle, *kept, named)})
    changed = changed.model_copy(update={"components": (other,)})
    found = compare_versions(
        only(nano_artifacts, "coarse", "c2f"),
        dataclasses.replace(new, manifest=changed),
        gates=load_gates(),
    )
    assert found.toolchain["torch"][1] == "0.1" and found.sources_differ
    assert found.only_old == ["c2f"] and not found.holds
    (change,) = found.components
    assert "float16" in change.signature[0] and not change.gates
    gone, renamed = change.passes
    assert gone.startswith("pass Simplify did nothing or was not run; before, it ")
    assert renamed.startswith("pass CanonicalNames: named 1 nodes; before, named ")
    assert change.same_file and change.graph == []


def test_a_version_is_not_compared_with_itself(nano_artifacts: Artifacts) -> None:
    with pytest.raises(InputError, match="compared with itself"):
        compare_versions(nano_artifacts, nano_artifacts, gates=load_gates())


def test_generators_are_compared_code_by_code(
    generator_artifacts: Artifacts, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(generator_artifacts.folder, tmp_path / "v2"))
    found = compared(generator_artifacts, open_artifacts(copied), "c2f.generator")
    assert found.holds and found.components[0].gates
    path = copied / "c2f.generator.onnx"
    model = read_graph(path)
    (defect,) = chosen_defects(["StreamRestarted"])
    defect.plant(model)  # type: ignore[attr-defined]
    save_beside(model, path, copied / "c2f.onnx")
    new = open_artifacts(copied, unsealed=True)
    (change,) = compared(generator_artifacts, new, "c2f.generator").components
    broken = {gate.name for gate in change.gates if not gate.holds}
    assert broken == {"tokens_unexplained", "facts_differing"}
    assert {item.module for item in change.graph} == {"loop"}
