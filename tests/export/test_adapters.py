"""Adapters: one graph that is switched between low-rank updates at run time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.checkpoint_files import content_of, saved
from tests.support.edited import edited
from tests.support.exports import export_to, record_of
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_config, load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.export.adapters import Adapter, adapter_tensors, write_adapter
from vampnet_onnx.export.options import adapters_from
from vampnet_onnx.models import (
    Checkpoints,
    VampNet,
    load_vampnet,
    open_models,
    read_checkpoint,
    read_lora,
)
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Components
from vampnet_onnx.pipeline.version.session import Session
from vampnet_onnx.reports import Report, Verdict
from vampnet_onnx.verify.causes.locate import localise_error
from vampnet_onnx.verify.gates.adapter_files import audit_adapter, with_adapters
from vampnet_onnx.verify.gates.audit import Origin, audit
from vampnet_onnx.verify.gates.measured import Measured
from vampnet_onnx.verify.verification import verify_artifacts
from vampnet_onnx.verify.versions import compare_versions

STYLES = {"opera": 8, "choir": 3}  # rank


def lora_file(nano: Path, folder: Path, style: str, name: str) -> Path:
    rank = STYLES[style]
    draw = torch.Generator().manual_seed(len(style) + rank)
    state = content_of(nano, name)["state_dict"]
    overlay = {
        key: torch.randn(
            (rank, value.shape[1]) if key.endswith("lora_A") else (value.shape[0], rank),
            generator=draw,
        )
        for key, value in state.items()
        if ".lora_" in key
    }
    return saved(overlay, folder / f"{style}-{name}.pth")


@pytest.fixture(scope="module")
def loras(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """LoRA files by style and transformer; the choir has none for c2f."""
    folder = tmp_path_factory.mktemp("loras")
    wanted = [("opera", "coarse"), ("opera", "c2f"), ("choir", "coarse")]
    return {pair: lora_file(nano, folder, *pair) for pair in wanted}


@pytest.fixture(scope="module")
def adaptable(
    nano: Path, loras: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Artifacts:
    return export_to(
        tmp_path_factory.mktemp("adaptable") / "v1",
        nano,
        components=("coarse", "c2f", "sampler"),
        adapters=tuple(Adapter(style, name, path) for (style, name), path in loras.items()),
    )


def codes_for(name: str) -> np.ndarray:
    books = {"coarse": 2, "c2f": 3}[name]
    return np.random.default_rng(0).integers(0, 12, (2, books, 29))


def logits(artifacts: Artifacts, name: str, adapter: str | None) -> np.ndarray:
    session = Session(artifacts.path(record_of(artifacts, name)), Runtime(threads=1))
    if adapter is not None:
        record = artifacts.manifest.adapter(name, adapter)
        assert record is not None
        session.use_adapter(artifacts.folder / record.file.name)
    return session.run({"codes": codes_for(name)})["logits"]


def verified(
    artifacts: Artifacts,
    checkpoint: Path,
    lora: dict[str, Path],
    only: tuple[str, ...] = ("coarse", "c2f", "c2f.latents"),
) -> Report:
    matrix = load_config(None).verify.model_copy(
        update={"seeds": [0], "frames": [1, 13], "batches": [2], "threads": 1}
    )
    return verify_artifacts(
        artifacts,
        Checkpoints(checkpoint, lora),
        matrix=matrix,
        gates=load_gates(),
        toolchain={},
        only=only,
        progress=lambda *_: None,
    )


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_without_an_adapter_the_graph_computes_what_the_plain_export_does(
    nano: Path, adaptable: Artifacts, tmp_path: Path, name: str
) -> None:
    plain = export_to(tmp_path / "v1", nano, components=(name,), inputs=("codes",))
    assert np.array_equal(logits(adaptable, name, None), logits(plain, name, None))


@pytest.mark.parametrize(
    "style, name", [("opera", "coarse"), ("opera", "c2f"), ("choir", "coarse")]
)
def test_with_an_adapter_it_computes_what_the_merged_model_does(
    nano: Path, loras: dict, adaptable: Artifacts, style: str, name: str
) -> None:
    model = load_vampnet(
        read_checkpoint(nano / f"{name}.pth"), lora=read_lora(loras[style, name])
    )
    quantizer = open_models(nano).codec.quantizer
    expected = model.forward_codes(torch.from_numpy(codes_for(name)), quantizer).numpy()
    found = logits(adaptable, name, style)
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(found - logits(adaptable, name, None)).max() > 0.1


@pytest.fixture(scope="module")
def merged(
    nano: Path, loras: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Artifacts:
    return export_to(
        tmp_path_factory.mktemp("merged") / "v1",
        nano,
        components=("coarse", "c2f", "sampler"),
        lora={name: loras["opera", name] for name in ("coarse", "c2f")},
    )


@pytest.mark.parametrize("kind", ["merged", "adaptable"])
def test_the_audit_holds_for_lora_in_the_weights_and_beside_them(
    nano: Path,
    loras: dict,
    adaptable: Artifacts,
    merged: Artifacts,
    kind: str,
    tmp_path: Path,
) -> None:
    artifacts = {"merged": merged, "adaptable": adaptable}[kind]
    lora = {"coarse": loras["opera", "coarse"]} if kind == "merged" else {}
    base = Checkpoints(nano, lora).models_for(("coarse",), merged=True)
    record = record_of(artifacts, "coarse")
    path, name = artifacts.path(record), "transformer.layers.0.self_attn.w_qs.weight"

    def audited(path: Path) -> Measured:
        rule, adaptable = load_gates().audit, kind == "adaptable"
        return audit(base, record, path, rule, origin=Origin(), adaptable=adaptable)

    assert audited(path) == Measured(0)
    found = audited(edited(path, name, lambda weight: weight * np.float32(1.001), tmp_path))
    assert found.value == 1 and name in found.message


def test_an_adapter_switched_on_agrees_with_the_merged_export(
    adaptable: Artifacts, merged: Artifacts
) -> None:
    found = compare_versions(merged, adaptable, gates=load_gates(), adapter="opera")
    assert found.holds and not found.sources_differ
    measured = {
        change.name: {gate.name for gate in change.gates} for change in found.components
    }
    assert "relative_l2" in measured["coarse"] & measured["c2f"]
    # What the adapter adds at run time stands in the other's weights: nothing to speak of.
    assert not any(change.passes or change.graph for change in found.components)


@pytest.mark.parametrize("adapter", [None, "choir"])
def test_another_adapter_departs_from_the_merged_export(
    adaptable: Artifacts, merged: Artifacts, adapter: str | None
) -> None:
    found = compare_versions(merged, adaptable, gates=load_gates(), adapter=adapter)
    assert not found.holds and found.sources_differ
    assert {c.name for c in found.components if not c.holds} >= {"coarse", "c2f"}
    coarse = next(change for change in found.components if change.name == "coarse")
    assert bool(coarse.graph) == bool(coarse.passes) == (adapter is None)


def test_comparing_with_an_unknown_adapter_is_refused(
    adaptable: Artifacts, merged: Artifacts
) -> None:
    with pytest.raises(InputError, match="no adapter 'tenor'; it has choir, opera"):
        compare_versions(merged, adaptable, gates=load_gates(), adapter="tenor")


def test_switching_leaves_nothing_behind(adaptable: Artifacts) -> None:
    session = Session(adaptable.path(record_of(adaptable, "coarse")), Runtime(threads=1))
    files = {
        a.name: adaptable.folder / a.file.name
        for a in adaptable.manifest.adapters
        if a.component == "coarse"
    }
    for adapter in ("opera", None, "choir", "opera"):
        session.use_adapter(files.get(adapter))
        found = session.run({"codes": codes_for("coarse")})["logits"]
        assert np.array_equal(found, logits(adaptable, "coarse", adapter))


def test_adapters_are_listed_with_their_sources_and_sealed(
    loras: dict, adaptable: Artifacts, tmp_path: Path
) -> None:
    listed = {(a.name, a.component, a.source.name) for a in adaptable.manifest.adapters}
    assert listed == {(style, name, path.name) for (style, name), path in loras.items()}
    damaged = shutil.copytree(adaptable.folder, tmp_path / "v1")
    file = damaged / "coarse.opera.onnx_adapter"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="onnx_adapter"):
        open_artifacts(damaged)


def test_the_same_export_gives_the_same_adapter(
    nano: Path, loras: dict, adaptable: Artifacts, tmp_path: Path
) -> None:
    again = export_to(
        tmp_path / "v1",
        nano,
        components=("coarse",),
        adapters=(Adapter("opera", "coarse", loras["opera", "coarse"]),),
    )
    assert again.manifest.adapter("coarse", "opera") == adaptable.manifest.adapter(
        "coarse", "opera"
    )


def test_the_base_holds_every_gate(nano: Path, adaptable: Artifacts) -> None:
    report = verified(adaptable, nano, {})
    assert report.verdict == "PASS"
    assert not any("with the adapter" in note for note in report.notes)
    # What it cannot look at, it says.
    unseen = "not audited, for want of the LoRA file (--lora): "
    files = "coarse.opera.onnx_adapter (made of opera-coarse.pth), coarse.choir.onnx_adapter"
    assert any(f"coarse: {unseen}{files}" in note for note in report.notes)


def test_an_adapter_holds_every_gate_against_the_merged_model(
    nano: Path, loras: dict, adaptable: Artifacts
) -> None:
    lora = {"coarse": loras["choir", "coarse"], "c2f": loras["opera", "c2f"]}
    report = verified(adaptable, nano, lora)
    assert report.verdict == "PASS"
    assert "coarse was verified with the adapter choir of coarse" in report.notes
    assert "c2f.latents was verified with the adapter opera of c2f" in report.notes
    unseen = [note for note in report.notes if "not audited" in note]
    assert len(unseen) == 1 and "opera.onnx_adapter (made of opera-coarse.pth)" in unseen[0]
    assert "choir.onnx_adapter" not in unseen[0]


def base_and_overlay(nano: Path, lora: Path) -> tuple[VampNet, dict[str, torch.Tensor]]:
    return open_models(nano).transformers["coarse"], read_lora(lora).state


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda x: x * np.float32(1 + 1e-6), "scaled"),
        (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 5, x + 1, x), "element"),
        (None, "is missing"),
    ],
)
def test_an_adapter_file_is_held_to_its_lora_file(
    nano: Path,
    loras: dict,
    adaptable: Artifacts,
    tmp_path: Path,
    change: Callable[[np.ndarray], np.ndarray] | None,
    words: str,
) -> None:
    given = base_and_overlay(nano, loras["choir", "coarse"])
    sound = adaptable.folder / "coarse.choir.onnx_adapter"
    assert audit_adapter(*given, sound, origin=Origin()) == Measured(0)
    layer = "transformer.layers.0.self_attn.w_vs"
    name, values = f"{layer}.adapter_up", adapter_tensors(sound)
    if change is None:
        del values[name]
    else:
        values[name] = change(values[name])
    path = tmp_path / sound.name
    write_adapter(values, path)
    found = audit_adapter(*given, path, origin=Origin())
    assert found.value == 1 and found.modules == (layer,)
    assert found.message.startswith(f"{sound.name}: {name} ") and words in found.message
    older = audit_adapter(*given, path, origin=Origin(("torch 2.5.0",)))
    assert older.value == 0 and "torch 2.5.0" in older.doubt and name in older.doubt
    assert older.unjudged and with_adapters(Measured(0), [older], {}).unjudged
    assert with_adapters(Measured(0), [], {sound.name: "choir.pth"}).unjudged
    other = base_and_overlay(nano, loras["opera", "coarse"])
    assert audit_adapter(*other, sound, origin=Origin()).value > 1


def test_a_value_of_an_adapter_that_no_limit_sees_fails_the_audit(
    nano: Path, loras: dict, adaptable: Artifacts, tmp_path: Path
) -> None:
    folder = shutil.copytree(adaptable.folder, tmp_path / "v1")
    file, layer = folder / "coarse.opera.onnx_adapter", "transformer.layers.0.self_attn.fc"
    values = adapter_tensors(file)
    values[f"{layer}.adapter_up"] *= np.float32(1 + 2e-7)
    write_adapter(values, file)
    changed = open_artifacts(folder, unsealed=True)
    report = verified(changed, nano, {"coarse": loras["opera", "coarse"]}, only=("coarse",))
    failing = {g.name for c in report.components for g in c.gates if g.verdict == "FAIL"}
    assert failing == {"audit"}


def test_verifying_with_a_lora_file_that_is_no_adapter_is_refused(
    nano: Path, adaptable: Artifacts, tmp_path: Path
) -> None:
    other = lora_file(nano, tmp_path, "choir", "c2f")
    with pytest.raises(InputError, match=r"choir-c2f\.pth"):
        verified(adaptable, nano, {"c2f": other})


def test_an_adapter_for_what_is_not_exported_is_refused(
    nano: Path, loras: dict, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="'opera' is for a transformer that is not exported"):
        export_to(
            tmp_path / "v1",
            nano,
            components=("coarse",),
            adapters=(Adapter("opera", "c2f", loras["opera", "c2f"]),),
        )


def localised(folder: Path, nano: Path, lora: dict[str, Path]) -> tuple[str, ...]:
    files = [f"{name}={path}" for name, path in lora.items()]
    found = localise_error(
        folder, nano, component="c2f", length=7, batch=1, lora=files, unsealed=True
    )
    return found.localisation.culprits


def test_localisation_finds_its_way_in_an_adaptable_graph(
    nano: Path, loras: dict, adaptable: Artifacts
) -> None:
    assert localised(adaptable.folder, nano, {}) == ()
    assert localised(adaptable.folder, nano, {"c2f": loras["opera", "c2f"]}) == ()


def test_localisation_names_the_layer_of_which_an_adapter_is_wrong(
    nano: Path, loras: dict, adaptable: Artifacts, tmp_path: Path
) -> None:
    folder = shutil.copytree(adaptable.folder, tmp_path / "v1")
    layer = "transformer.layers.0.feed_forward.w_2"
    file = folder / "c2f.opera.onnx_adapter"
    values = adapter_tensors(file)
    values[f"{layer}.adapter_up"] = -values[f"{layer}.adapter_up"]
    write_adapter(values, file)
    assert localised(folder, nano, {"c2f": loras["opera", "c2f"]}) == (layer,)
    assert localised(folder, nano, {}) == ()
    write_adapter({"elsewhere.adapter_up": np.zeros((2, 3), np.float32)}, file)
    with pytest.raises(InputError, match=r"elsewhere\.adapter_up, which the graph does not"):
        localised(folder, nano, {"c2f": loras["opera", "c2f"]})
    file.write_bytes(b"no adapter")
    with pytest.raises(InputError, match=r"opera\.onnx_adapter: ONNX Runtime cannot read it"):
        localised(folder, nano, {"c2f": loras["opera", "c2f"]})


def test_an_adapter_is_switched_on_by_name_in_whole_pipelines(adaptable: Artifacts) -> None:
    parts = Components(adaptable, Runtime(threads=1))
    before = parts.transformer("coarse").logits(codes_for("coarse"))
    parts.switch_adapter("choir")
    assert np.array_equal(
        parts.transformer("coarse").logits(codes_for("coarse")),
        logits(adaptable, "coarse", "choir"),
    )
    fine = parts.transformer("c2f").logits(codes_for("c2f"))  # which has none of this name
    assert np.array_equal(fine, logits(adaptable, "c2f", None))
    parts.switch_adapter(None)
    assert np.array_equal(parts.transformer("coarse").logits(codes_for("coarse")), before)
    with pytest.raises(InputError, match="no adapter 'tenor'; it has choir, opera"):
        parts.switch_adapter("tenor")


def named(loras: dict, style: str, transformer: str, folder: Path, name: str) -> str:
    return str(shutil.copy(loras[style, transformer], folder / name))


def test_adapters_are_named_after_files_which_find_their_transformers(
    nano: Path, loras: dict, tmp_path: Path
) -> None:
    texts = [
        named(loras, "opera", "c2f", tmp_path, "Big_Opera-c2f.pth"),
        "coarse=" + named(loras, "opera", "coarse", tmp_path, "big-opera-coarse.pth"),
    ]
    found = adapters_from(texts, nano)
    assert [(a.name, a.component) for a in found] == [
        ("big-opera", "c2f"),
        ("big-opera", "coarse"),
    ]
    assert found[0].file_name == "c2f.big-opera.onnx_adapter"


def test_a_file_that_makes_no_adapter_is_refused(
    nano: Path, loras: dict, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="'große oper' is no such name; rename the file"):
        adapters_from([named(loras, "opera", "coarse", tmp_path, "Große Oper.pth")], nano)
    with pytest.raises(InputError, match=r"none\.pth: no such file"):
        adapters_from(["none.pth"], nano)


def test_a_name_stands_for_one_adapter_a_transformer(
    nano: Path, loras: dict, tmp_path: Path
) -> None:
    texts = [
        named(loras, "opera", "coarse", tmp_path, "opera.pth"),
        named(loras, "opera", "coarse", tmp_path, "opera-coarse.pth"),
    ]
    with pytest.raises(InputError, match="coarse has an adapter 'opera' already"):
        adapters_from(texts, nano)


def test_a_generator_beside_adapters_is_that_of_the_plain_checkpoint(
    nano: Path, loras: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    """It takes no adapter: in use, the pipeline generates without it and says so."""
    lora = loras["opera", "c2f"]
    artifacts = export_to(
        tmp_path / "v1",
        nano,
        components=("c2f", "sampler"),
        inputs=("codes",),
        generator=True,
        adapters=(Adapter("opera", "c2f", lora),),
    )
    pipeline = VampPipeline(artifacts, Runtime(threads=1))
    assert pipeline.how_it_generates() == ["c2f: generated by c2f.generator"]
    pipeline.switch_adapter("opera")
    (said,) = pipeline.how_it_generates()
    assert said == "c2f: generated without c2f.generator: the adapter opera is in use"
    report = verified(artifacts, nano, {"c2f": lora}, only=("c2f", "c2f.generator"))
    assert [part.verdict for part in report.components] == [Verdict.PASS, Verdict.PASS]
