"""Localisation from files: by the facts that stand in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.edited import edited, scaled
from tests.support.exports import only, record_of
from tests.support.planting import Sound
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.store import write_manifest
from vampnet_onnx.export.onnx_file import save_graph
from vampnet_onnx.models import open_models
from vampnet_onnx.verify.causes.component_file import open_component
from vampnet_onnx.verify.causes.locate import localise_error, locate
from vampnet_onnx.verify.subjects.registry import subject_of
from vampnet_onnx.verify.versions import compare_versions


def test_two_plain_files_are_compared_by_the_facts_in_them(
    nano_artifacts: Artifacts, sound: Sound, tmp_path: Path
) -> None:
    old, name = nano_artifacts.folder / "c2f.onnx", "transformer.layers.0.self_attn.fc"
    new = scaled(old, f"{name}.weight", 1.01, tmp_path)
    found = localise_error(old, new=new)
    assert found.component == "c2f" and found.unvouched == (str(new),)  # old has its manifest
    assert found.localisation.culprits == (name,)
    with pytest.raises(InputError, match="holds c2f, not coarse"):
        localise_error(old, new=new, component="coarse")
    with pytest.raises(InputError, match="holds no facts of this tool"):
        localise_error(sound.path, new=new)


@pytest.mark.parametrize("external", [False, True])
def test_a_file_beside_its_manifest_is_vouched_for_as_long_as_nothing_is_changed(
    nano_artifacts: Artifacts, tmp_path: Path, external: bool
) -> None:
    graph = ir.load(nano_artifacts.path(record_of(nano_artifacts, "coarse")))
    path = tmp_path / "coarse.onnx"
    file, data = save_graph(graph, path, external=external)
    assert open_component(path, None).unvouched == ("coarse.onnx",)  # no manifest is there
    record = record_of(nano_artifacts, "coarse").model_copy(
        update={"file": file, "data": data}
    )
    manifest = nano_artifacts.manifest.model_copy(update={"components": (record,)})
    write_manifest(tmp_path, manifest)
    assert open_component(path, None).unvouched == ()
    if data is not None:
        weights = tmp_path / data.name
        weights.write_bytes(weights.read_bytes()[:-1] + b"!")
        assert open_component(path, None).unvouched == ("coarse.onnx",)
        bare = manifest.model_copy(
            update={"components": (record.model_copy(update={"data": None}),)}
        )
        write_manifest(tmp_path, bare)
        assert open_component(path, None).unvouched == ("coarse.onnx",)


def test_weights_in_a_file_that_the_manifest_does_not_list_are_refused(
    nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    old = only(nano_artifacts, "coarse")
    graph = ir.load(old.path(record_of(old, "coarse")))
    save_graph(graph, tmp_path / "coarse.onnx", external=True)
    new = replace(old, folder=tmp_path)
    with pytest.raises(InputError, match="lists no file as its data"):
        open_component(new, "coarse")
    with pytest.raises(InputError, match="lists no file as its data"):
        compare_versions(old, new, gates=load_gates())


@pytest.mark.parametrize("form, weight", [("int8", "weight_scales"), ("fp16", "weight")])
def test_a_form_is_walked_beside_the_same_form_of_its_checkpoint(
    forms_a: Path, golden_a: GoldenSet, tmp_path: Path, form: str, weight: str
) -> None:
    record = record_of(open_artifacts(forms_a), f"coarse.{form}")
    sound, models = forms_a / record.file.name, open_models(golden_a.folder)
    case = subject_of(record).one_case(record, seed=0, batch=1, frames=13)
    inputs = subject_of(record).inputs(record, case)
    assert not locate(models, record, sound, inputs).culprits
    layer = "transformer.layers.0.self_attn.fc"
    off = edited(
        sound, f"{layer}.{weight}", lambda x: (x * np.float32(1.05)).astype(x.dtype), tmp_path
    )
    assert list(locate(models, record, off, inputs).culprits) == [layer]


@pytest.mark.parametrize("name", ["generation", "generation.int8"])
def test_a_whole_has_no_modules_to_walk(
    nano_artifacts: Artifacts, nano: Path, name: str
) -> None:
    with pytest.raises(InputError, match=f"{name} is no file but several at work"):
        localise_error(nano_artifacts, nano, component=name)


def test_a_generator_is_one_loop_that_is_not_walked(generator_artifacts: Artifacts) -> None:
    with pytest.raises(InputError, match="walked by its own name: coarse, sampler"):
        localise_error(generator_artifacts, "anywhere", component="coarse.generator")
