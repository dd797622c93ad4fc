"""The exported files: what is in them, what is not, and what they compute."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.support.exports import compute, config_for, export_to, record_of
from tests.support.sets import GOLDEN, NANO, NETWORKS, GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.cache import FOLDER_VARIABLE
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.manifest import Manifest, TensorSignature
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.export import graphs
from vampnet_onnx.export.components.registry import COMPONENTS, structure_of
from vampnet_onnx.export.export_set import METADATA_PREFIX, export_set
from vampnet_onnx.export.graph_cache import GraphCache
from vampnet_onnx.export.onnx_file import read_graph
from vampnet_onnx.export.trace import weight_shapes
from vampnet_onnx.export.variants.forms import FORMS, weight_bytes
from vampnet_onnx.models import Checkpoints, open_models
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file

ROOT = Path(__file__).parents[2]


def axes(value: onnx.ValueInfoProto) -> list[int | str]:
    dims = value.type.tensor_type.shape.dim
    return [d.dim_param or d.dim_value for d in dims]


def dtype(value: onnx.ValueInfoProto) -> str:
    return onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name


def facts(model: onnx.ModelProto) -> dict[str, str]:
    return {
        p.key.removeprefix(METADATA_PREFIX): p.value
        for p in model.metadata_props
        if p.key.startswith(METADATA_PREFIX)
    }


# What a file takes and gives.


def test_names_types_and_axes_are_those_of_the_architecture(
    nano_artifacts: Artifacts,
) -> None:
    books, wide = NANO["codec"]["n_codebooks"], 15
    expected = {
        "codec_encoder": (
            [("audio", "float32", ["batch", 1, "samples"])],
            [
                ("codes", "int64", ["batch", books, "frames"]),
                ("latents", "float32", ["batch", wide, "frames"]),
            ],
        ),
        "codec_decoder": (
            [("codes", "int64", ["batch", "codebooks", "frames"])],
            [("audio", "float32", ["batch", 1, "samples"])],
        ),
        "coarse": (
            [("codes", "int64", ["batch", 2, "frames"])],
            [("logits", "float32", ["batch", 11, "positions"])],
        ),
        "coarse.latents": (
            [("latents", "float32", ["batch", 10, "frames"])],
            [("logits", "float32", ["batch", 11, "positions"])],
        ),
        "c2f": (
            [("codes", "int64", ["batch", 3, "frames"])],
            [("logits", "float32", ["batch", 11, "positions"])],
        ),
        "c2f.latents": (
            [("latents", "float32", ["batch", 15, "frames"])],
            [("logits", "float32", ["batch", 11, "positions"])],
        ),
    }
    assert set(expected) == {record.id for record in nano_artifacts.manifest.components}
    for record in nano_artifacts.manifest.components:
        model = onnx.load(str(nano_artifacts.path(record)))
        for values, signatures, wanted in zip(
            (model.graph.input, model.graph.output),
            (record.inputs, record.outputs),
            expected[record.id],
            strict=True,
        ):
            found = [(v.name, dtype(v), axes(v)) for v in values]
            assert found == wanted
            assert [(s.name, s.dtype, list(s.shape)) for s in signatures] == wanted


# What is not in a file.


def test_no_training_leftovers_and_no_random_operators(graph: onnx.ModelProto) -> None:
    names = [i.name for i in graph.graph.initializer]
    assert names
    for leftover in ("weight_g", "weight_v", "lora_", "film", "parametrizations"):
        assert not any(leftover in name.lower() for name in names), leftover
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "Dropout",
        "Identity",
        "If",
        "Loop",
    }
    assert {node.domain for node in graph.graph.node} == {""}
    assert not graph.functions


def test_every_weight_is_used_by_a_node(graph: onnx.ModelProto) -> None:
    used = {name for node in graph.graph.node for name in node.input}
    weights = {i.name for i in graph.graph.initializer}
    assert weights and weights <= used


def test_no_snake_takes_its_reciprocal_again(nano_artifacts: Artifacts) -> None:
    for name in ("codec_encoder", "codec_decoder"):
        model = onnx.load(str(nano_artifacts.path(record_of(nano_artifacts, name))))
        sines = [n for n in model.graph.node if n.op_type == "Sin"]
        assert len(sines) >= 8
        operators = {n.op_type for n in model.graph.node}
        assert "Reciprocal" not in operators
        weights = {i.name for i in model.graph.initializer}
        divided = [n for n in model.graph.node if n.op_type == "Div"]
        assert not [n for n in divided if any("alpha" in name for name in n.input)]
        assert sum(name.endswith(".inverse") for name in weights) == len(sines)


def test_weight_norm_lora_and_tables_are_folded_to_the_published_values(
    nano: Path, nano_artifacts: Artifacts
) -> None:
    models = open_models(nano)
    path = nano_artifacts.path(record_of(nano_artifacts, "coarse"))
    weights = {
        i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(str(path)).graph.initializer
    }
    layer = models.transformers["coarse"].transformer.layers[0]
    merged = layer.self_attn.w_qs.merged_weight().T.numpy()
    np.testing.assert_array_equal(
        weights["transformer.layers.0.self_attn.w_qs.weight"], merged
    )
    assert np.abs(merged - layer.self_attn.w_qs.weight.T.numpy()).max() > 1e-3
    assert weights["embedding.tables.0"].shape == (NANO["coarse"]["vocab_size"] + 1, 21)


def test_nothing_of_the_exporting_machine_is_in_the_bytes(
    nano: Path, nano_artifacts: Artifacts
) -> None:
    suspects = [
        str(ROOT),
        str(nano),
        str(nano_artifacts.folder),
        sys.prefix,
        str(Path.home()),
        "site-packages",
        "stack_trace",
        ".py",
        "/tmp/",
    ]
    if len(socket.gethostname()) > 3:
        suspects.append(socket.gethostname())
    for path in nano_artifacts.folder.iterdir():
        data = path.read_bytes()
        found = [text for text in suspects if text.encode() in data]
        assert not found, f"{path.name} holds {found}"


# Facts.


def test_the_file_holds_the_facts_of_the_manifest(nano_artifacts: Artifacts) -> None:
    manifest = nano_artifacts.manifest
    sources = {source.name: source.model_dump() for source in manifest.sources}
    for record in manifest.components:
        model = onnx.load(str(nano_artifacts.path(record)))
        found = facts(model)
        assert found["model"] == manifest.model and found["component"] == record.name
        assert found["variant"] == record.variant
        assert json.loads(found["random_weights"]) is True
        assert json.loads(found["toolchain"]) == manifest.toolchain
        assert json.loads(found["opset"]) == record.opset == model.opset_import[0].version
        assert json.loads(found["dims"]) == json.loads(json.dumps(record.dims))
        assert json.loads(found["passes"]) == [p.model_dump() for p in record.passes]
        assert json.loads(found["inputs"]) == [
            i.model_dump(mode="json") for i in record.inputs
        ]
        assert json.loads(found["outputs"]) == [
            o.model_dump(mode="json") for o in record.outputs
        ]
        own = json.loads(found["sources"])
        assert own and all(sources[source["name"]] == source for source in own)
        needed = {f"{record.name}.pth"} if record.name in ("coarse", "c2f") else {"codec.pth"}
        assert needed <= {source["name"] for source in own}


def test_the_manifest_names_sources_passes_and_hashes(
    nano: Path, nano_artifacts: Artifacts
) -> None:
    manifest = nano_artifacts.manifest
    assert manifest.random_weights and manifest.gates == ()
    names = {source.name for source in manifest.sources}
    assert names == {"codec.pth", "coarse.pth", "c2f.pth"}
    for source in manifest.sources:
        path = nano / source.name
        assert (source.sha256, source.size) == (sha256(path), path.stat().st_size)
        assert source.label == "random"
    for record in manifest.components:
        names = [entry.name for entry in record.passes]
        assert "FoldWeightNorm" in names and names[-1] == "CanonicalNames"
        folded = record.passes[names.index("FoldWeightNorm")]
        assert folded.changed > 0 and folded.tolerance == 0
    on_disk = {path.name for path in nano_artifacts.folder.iterdir()}
    assert on_disk == {record.name for record in manifest.files()} | {"manifest.json"}
    again = (nano_artifacts.folder / "manifest.json").read_text("utf-8")
    assert Manifest.model_validate_json(again) == manifest


# Bytes.


def test_another_process_gives_the_same_bytes(nano: Path, tmp_path: Path) -> None:
    """Neither the order of hashes, nor the number of threads, nor the folder matters."""
    code = (
        "import sys, pathlib, torch\n"
        "torch.set_num_threads(int(sys.argv[3]))\n"
        "from tests.support.exports import export_to\n"
        "export_to(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), inputs=('codes',),\n"
        " components=('codec_encoder', 'codec_decoder', 'coarse'))\n"
    )
    running = []
    for seed, threads in (("1", "1"), ("77", "2")):
        target = tmp_path / f"out-{seed}"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        environment[FOLDER_VARIABLE] = str(tmp_path / f"graphs-{seed}")
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", code, str(target), str(nano), threads],
                cwd=ROOT,
                env=environment,
            )
        )
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    first, second = tmp_path / "out-1", tmp_path / "out-77"
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir()) and len(names) == 4
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


# Shapes.


@pytest.mark.parametrize("name, highest", [("codec_decoder", 11), ("coarse", 11)])
def test_a_code_beyond_the_mask_token_is_an_error_not_another_codebook(
    nano_artifacts: Artifacts, name: str, highest: int
) -> None:
    books = record_of(nano_artifacts, name).inputs[0].shape[1]
    shape = (1, books if isinstance(books, int) else 2, 3)
    path = nano_artifacts.path(record_of(nano_artifacts, name))
    compute(path, codes=np.full(shape, highest))
    with pytest.raises(Exception, match=r"out of (data )?bounds|[Ii]nvalid"):
        compute(path, codes=np.full(shape, highest + 1))


# Sets.


@pytest.mark.parametrize(
    "components, words",
    [(("c2f",), "holds no checkpoint for c2f"), (("codec_encoder", "c2f"), "it allows")],
)
def test_a_component_whose_checkpoint_is_missing_is_refused(
    nano: Path, tmp_path: Path, components: tuple[str, ...], words: str
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "codec.pth").write_bytes((nano / "codec.pth").read_bytes())
    with pytest.raises(InputError, match=words):
        export_to(tmp_path / "v1", tmp_path / "set", components=components)


def test_a_transformer_alone_is_exported_by_latents_only(nano: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "coarse.pth").write_bytes((nano / "coarse.pth").read_bytes())
    with pytest.raises(InputError, match="--input latents"):
        export_to(tmp_path / "v1", tmp_path / "set", inputs=("codes",))
    found = export_to(tmp_path / "v2", tmp_path / "set", inputs=("latents",))
    assert [record.id for record in found.manifest.components] == ["coarse.latents"]


@pytest.mark.parametrize("overlaid, components", [("c2f", ("coarse",)), ("coarse", None)])
def test_a_lora_file_that_would_go_unused_is_refused(
    nano: Path, tmp_path: Path, overlaid: str, components: tuple[str, ...] | None
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("codec", "coarse") if components else ("codec",):
        (folder / f"{name}.pth").write_bytes((nano / f"{name}.pth").read_bytes())
    lora = tmp_path / "style.pth"
    torch.save({"a.lora_A": torch.zeros(1)}, lora)
    with pytest.raises(InputError, match="LoRA") as caught:
        export_to(tmp_path / "v1", folder, components=components, lora={overlaid: lora})
    assert overlaid in str(caught.value)


def test_weights_that_overflow_are_refused_as_the_checkpoints_fault(
    nano: Path, tmp_path: Path
) -> None:
    """All finite, but the published model itself computes infinities with them."""
    (tmp_path / "set").mkdir()
    content = torch.load(nano / "codec.pth", weights_only=True)
    for key, value in content["state_dict"].items():
        if key.endswith("weight_g"):
            value.fill_(1e30)
    torch.save(content, tmp_path / "set" / "codec.pth")
    with pytest.raises(InputError, match=r"NaN|infinit") as caught:
        export_to(tmp_path / "v1", tmp_path / "set")
    assert "codec" in str(caught.value)


def test_components_come_in_the_architectures_order(nano_artifacts: Artifacts) -> None:
    names = [record.name for record in nano_artifacts.manifest.components]
    assert list(dict.fromkeys(names)) == [name for name in COMPONENTS if name in names]
    assert len(set(names)) == len(NETWORKS)


@pytest.fixture(scope="module")
def exported_set(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("set")
    config = config_for(
        GOLDEN / "a",
        components=("audio_processor", "mask_generator", "sampler"),
        rates=(48000, 8000),
    )
    return folder, export_set(
        config, Checkpoints(GOLDEN / "a"), folder, progress=lambda *_: None
    )


def test_a_set_holds_them_after_the_networks(exported_set: tuple[Path, Manifest]) -> None:
    assert COMPONENTS[-3:] == ("audio_processor", "mask_generator", "sampler")
    ids = [record.id for record in exported_set[1].components]
    assert ids == [
        "audio_processor",
        "audio_processor.from_48000",
        "mask_generator",
        "sampler",
    ]
    assert [source.name for source in exported_set[1].sources] == ["codec.pth"]


def test_each_file_carries_its_facts(exported_set: tuple[Path, Manifest]) -> None:
    folder, manifest = exported_set
    assert len(manifest.components) == 4
    for record in manifest.components:
        model = onnx.load(str(folder / record.file.name))
        facts = {p.key.removeprefix("vampnet_onnx."): p.value for p in model.metadata_props}
        assert facts["component"] == record.name and facts["variant"] == record.variant
        assert json.loads(facts["dims"])["sample_rate"] == record.dims["sample_rate"]
        signatures = [TensorSignature(**item) for item in json.loads(facts["inputs"])]
        assert tuple(signatures) == record.inputs
        assert [value.name for value in model.graph.input] == [s.name for s in record.inputs]


def test_a_rate_of_no_use_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"export\.rates"):
        export_set(
            config_for(GOLDEN / "a", components=("audio_processor",), rates=(999_983,)),
            Checkpoints(GOLDEN / "a"),
            tmp_path,
            progress=lambda *_: None,
        )


# Graphs that are kept, or made by several processes.


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_kept_graphs_and_several_processes_give_the_bytes_of_an_export_from_scratch(
    nano: Path, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    wanted, cache = bytes_of(nano_artifacts.folder), GraphCache(tmp_path / "graphs")
    for number, (jobs, fresh) in enumerate(((2, True), (1, False))):
        folder, told = tmp_path / str(number), list[str]()
        folder.mkdir()
        export_set(
            config_for(nano, components=NETWORKS),
            Checkpoints(nano),
            folder,
            made=lambda name, _, told=told: told.append(name),  # type: ignore[misc]
            cache=cache,
            jobs=jobs,
            progress=lambda *_: None,
        )
        assert bytes_of(folder) == wanted
        assert len(told) == (6 if fresh else 0)  # what was kept proves nothing of now


def test_of_golden_sets_too(golden: GoldenSet, exported: Path, tmp_path: Path) -> None:
    name, cache = f"golden-{golden.folder.name}", GraphCache(tmp_path / "graphs")
    components = ("codec_decoder", "coarse")
    for number in ("made", "kept"):
        folder = tmp_path / number
        folder.mkdir()
        export_set(
            config_for(golden.folder, model=name, components=components, inputs=["codes"]),
            Checkpoints(golden.folder),
            folder,
            cache=cache,
            progress=lambda *_: None,
        )
        for component in components:
            found = (folder / f"{component}.onnx").read_bytes()
            assert found == (exported / f"{component}.onnx").read_bytes()


def test_another_checkpoint_of_the_same_dimensions_uses_the_graph(
    nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_random_file(tmp_path / "set" / "coarse.pth", NANO["coarse"], seed=5)
    shutil.copy(nano / "codec.pth", tmp_path / "set")
    cache, files = GraphCache(tmp_path / "graphs"), list[bytes]()
    asked = (
        (nano, cache),  # fills the cache
        (tmp_path / "set", cache),
        (tmp_path / "set", None),
    )
    for number, (checkpoint, kept) in enumerate(asked):
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            if number == 1:
                patch.setattr(graphs, "graph_of", None)
            export_set(
                config_for(checkpoint, components=("coarse",), inputs=["codes"]),
                Checkpoints(checkpoint),
                folder,
                cache=kept,
                progress=lambda *_: None,
            )
        files.append((folder / "coarse.onnx").read_bytes())
    assert files[0] != files[1] == files[2]


def test_forms_stand_beside_the_float32_files_and_are_smaller(forms_a: Path) -> None:
    found = {record.id: record for record in read_manifest(forms_a).components}
    for name in ("coarse", "c2f"):
        plain, forms = found[name], [found[f"{name}.{form}"] for form in ("int8", "fp16")]
        assert [small.variant for small in forms] == ["int8", "fp16"]
        for small in forms:
            assert small.dims == plain.dims and small.size < 0.7 * plain.size
            assert (small.inputs, small.outputs) == (plain.inputs, plain.outputs)
            assert small.left == {}  # with what error, where any is left
    assert sum(bool(record.variant) for record in found.values()) == 4


def test_a_form_that_cannot_be_smaller_is_refused_before_anything_is_exported(
    nano: Path, tmp_path: Path
) -> None:
    """A set narrower than the blocks that its weights are filled up to."""
    told: list[str] = []
    config = config_for(nano, inputs=["codes"], variants=["fp32", "w8"])
    with pytest.raises(InputError, match=r"w8: .* quarter is saved, so leave it out of"):
        export_set(
            config, Checkpoints(nano), tmp_path, progress=lambda name, *_: told.append(name)
        )
    assert not told


def test_what_weights_take_is_known_before_there_is_a_graph(
    forms_a: Path, golden_a: GoldenSet
) -> None:
    checkpoints = Checkpoints(golden_a.folder)
    for name in ("coarse", "c2f"):
        structure = structure_of(name, "", checkpoints.codec_dims, checkpoints.dims)
        assert structure is not None
        products, others = weight_shapes(structure)
        for form in ("int8", "fp16"):
            written = weight_bytes(read_graph(forms_a / f"{name}.{form}.onnx"))
            known = sum(FORMS[form].product_bytes(*shape) for shape in products)
            known += FORMS[form].other_bytes * others
            assert 0 <= written - known < 500  # constants
