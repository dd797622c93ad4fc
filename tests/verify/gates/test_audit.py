"""A file against a fresh export: what no case selects is red, and being older is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.edited import edited, replanted
from tests.support.exports import exported, record_of
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord, PassRecord
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.export_set import component_record
from vampnet_onnx.export.fingerprint import Made, fingerprint
from vampnet_onnx.export.onnx_file import read_graph, save_graph
from vampnet_onnx.export.runtime import OPSETS, loads
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.verify.gates import audit as gate
from vampnet_onnx.verify.gates.audit import Origin, _wrong_facts, audit
from vampnet_onnx.verify.gates.measured import Measured

SAME, OLDER = Origin(), Origin(("torch 2.5.0",))
KEY = "transformer.layers.0.self_attn.w_ks"  # no LoRA reaches it
FOLDED = "classifier.layers.0.weight"  # weight norm is folded into it

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def held(
    nano_artifacts: Artifacts, models: ModelSet, tmp_path: Path
) -> Callable[..., Measured]:
    """Audit a component whose file has one weight changed."""

    def run(
        component: str, name: str = "", change: Change | None = None, *, origin: Origin = SAME
    ) -> Measured:
        record = record_of(nano_artifacts, component)
        path = nano_artifacts.path(record)
        if change is not None:
            path = edited(path, name, change, tmp_path)
        return audit(models, record, path, load_gates().audit, origin=origin)

    return run


def row(index: int, factor: float) -> Change:
    def change(weight: np.ndarray) -> np.ndarray:
        found = weight.copy()
        found[index] *= np.float32(factor)
        return found

    return change


def column(weight: np.ndarray) -> np.ndarray:
    found = weight.copy()
    found[..., 4] *= np.float32(1.01)
    return found


def half(weight: np.ndarray) -> np.ndarray:
    return weight.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("origin", [SAME, OLDER])
@pytest.mark.parametrize(
    "component", ["codec_encoder", "codec_decoder", "coarse", "c2f.latents"]
)
def test_a_sound_file_is_what_its_checkpoint_gives(
    held: Callable[..., Measured], component: str, origin: Origin
) -> None:
    assert held(component, origin=origin) == Measured(0)


@pytest.mark.parametrize(
    "component, name, change, module",
    [
        ("coarse", "embedding.tables.1", row(7, -1), "embedding"),
        ("coarse", "embedding.tables.1", half, "embedding"),
        ("coarse", f"{KEY}.weight", column, KEY),
        (
            "coarse",
            "transformer.layers.0.norm_1/constant_0",
            lambda x: x * 10,
            "transformer.layers.0.norm_1",
        ),
        (
            "codec_decoder",
            "decoder.model.0.bias",
            lambda x: x * np.float32(1.01),
            "decoder.model.0",
        ),
        (
            "codec_encoder",
            "quantizer.quantizers.0.codebook",
            row(3, -1),
            "quantizer.quantizers.0",
        ),
    ],
)
def test_a_tensor_that_is_wrong_is_told_where_and_how(
    held: Callable[..., Measured],
    component: str,
    name: str,
    change: Change,
    module: str,
) -> None:
    found = held(component, name, change)
    assert found.value == 1 and name in found.message and not found.doubt
    assert found.modules == (module,)


@pytest.mark.parametrize("component", ["coarse.latents", "c2f.latents"])
def test_the_entry_by_latents_is_held_as_that_by_codes_is(
    held: Callable[..., Measured], component: str
) -> None:
    assert held(component) == Measured(0)
    found = held(component, f"{KEY}.weight", column)
    assert found.value == 1 and found.modules == (KEY,)


@pytest.mark.parametrize("opset", [18, max(filter(loads, OPSETS))])
def test_a_file_is_held_to_an_export_of_its_own_opset(
    models: ModelSet, tmp_path: Path, opset: int
) -> None:
    made, path = exported(models, "coarse", opset=opset), tmp_path / "coarse.onnx"
    record, rule = component_record(made, *save_graph(made.model, path)), load_gates().audit
    assert record.opset == opset
    assert audit(models, record, path, rule, origin=SAME) == Measured(0)
    wrong = edited(path, f"{KEY}.weight", column, tmp_path)
    found = audit(models, record, wrong, rule, origin=SAME)
    assert found.value == 1 and found.modules == (KEY,)
    other = record.model_copy(update={"opset": 20})
    assert audit(models, other, path, rule, origin=SAME).value >= 1


def test_weights_outside_of_the_file_are_held_as_those_within(
    nano_artifacts: Artifacts, models: ModelSet, tmp_path: Path
) -> None:
    record, rule = record_of(nano_artifacts, "coarse"), load_gates().audit
    path, graph = tmp_path / "coarse.onnx", ir.load(nano_artifacts.path(record))
    _, data = save_graph(graph, path, external=True)
    assert data is not None and data.size > 1000
    with pytest.raises(
        InputError, match=r"'coarse\.onnx\.data', but manifest\.json lists no file"
    ):
        audit(models, record, path, rule, origin=SAME)
    record = record.model_copy(update={"data": data})
    assert audit(models, record, path, rule, origin=SAME) == Measured(0)
    weight = graph.graph.initializers[f"{KEY}.weight"]
    assert weight.const_value is not None
    weight.const_value = ir.tensor(column(weight.const_value.numpy()), name=weight.name)
    save_graph(graph, path, external=True)
    found = audit(models, record, path, rule, origin=SAME)
    assert found.value == 1 and found.modules == (KEY,)


def test_last_bits_of_a_weight_that_a_pass_computes_are_a_matter_of_the_processor(
    held: Callable[..., Measured],
) -> None:
    def last_bit(weight: np.ndarray) -> np.ndarray:
        return np.nextafter(weight, np.float32(np.inf))

    found = held("coarse", FOLDED, last_bit)
    assert found.value == 0 and "1 of " in found.doubt and "rounding" in found.doubt
    assert not found.unjudged
    # One that a pass keeps is the checkpoint's own, on any processor.
    assert held("coarse", f"{KEY}.weight", last_bit).value == 1


def test_an_older_file_is_not_red_for_being_older(held: Callable[..., Measured]) -> None:
    found = held("coarse", FOLDED, lambda x: x * np.float32(2), origin=OLDER)
    assert found.value == 0
    assert "torch 2.5.0" in found.doubt and "could not be judged" in found.doubt
    assert found.unjudged
    assert FOLDED in found.doubt


def test_an_older_file_is_held_to_the_weights_that_passes_keep(
    held: Callable[..., Measured],
) -> None:
    found = held("coarse", f"{KEY}.weight", column, origin=OLDER)
    assert found.value == 1 and "torch 2.5.0" in found.message


def test_passes_that_nobody_knows_today_may_have_kept_other_weights(
    nano_artifacts: Artifacts, models: ModelSet, tmp_path: Path
) -> None:
    record, rule = record_of(nano_artifacts, "coarse"), load_gates().audit
    path = edited(nano_artifacts.path(record), f"{KEY}.weight", column, tmp_path)
    told_of_itself(
        path,
        passes := (*record.passes, PassRecord(name="Old", changed=1, details="kept nothing")),
    )
    found = audit(models, renamed(record, passes), path, rule, origin=OLDER)
    assert found.value == 0 and found.unjudged and f"{KEY}.weight" in found.doubt
    assert (
        "the record names the pass Old, which its export has not (made with torch"
        in found.doubt
    )


def test_fewer_passes_hide_no_weight(
    nano_artifacts: Artifacts, models: ModelSet, tmp_path: Path
) -> None:
    """A pass less leaves no weight otherwise that all of them leave alone."""
    record, rule = record_of(nano_artifacts, "coarse"), load_gates().audit
    path = edited(nano_artifacts.path(record), f"{KEY}.weight", column, tmp_path)
    told_of_itself(path, record.passes[1:])
    found = audit(models, renamed(record, record.passes[1:]), path, rule, origin=OLDER)
    assert found.value == 1 and f"{KEY}.weight" in found.message
    assert f"names no pass {record.passes[0].name}, which its export has" in found.doubt


def a_pass(name: str) -> PassRecord:
    return PassRecord(name=name, changed=1, details="kept nothing")


def renamed(record: ComponentRecord, passes: Sequence[PassRecord]) -> ComponentRecord:
    return record.model_copy(update={"passes": tuple(passes)})


def told_of_itself(path: Path, passes: Sequence[PassRecord]) -> None:
    model = ir.load(path)
    text = json.dumps([item.model_dump() for item in passes], sort_keys=True)
    model.metadata_props["vampnet_onnx.passes"] = text
    save_graph(model, path)


@pytest.mark.parametrize("just_now", [True, False])
@pytest.mark.parametrize(
    "change, says",
    [
        (lambda p: p[1:], "names no pass FoldCodebooksIntoEmbedding, which its export has"),
        (
            lambda p: (*p, a_pass("Magic")),
            "names the pass Magic, which its export has not",
        ),
        (lambda p: p[::-1], "in another order or number"),
        (
            lambda p: (*p[:-1], p[-1].model_copy(update={"changed": 0})),
            "says 0 of the pass CanonicalNames",
        ),
        (lambda p: (), "differences more"),
    ],
)
def test_a_claim_of_other_passes_than_those_of_its_export_is_wrong(
    nano_artifacts: Artifacts,
    models: ModelSet,
    tmp_path: Path,
    change: Callable[[tuple[PassRecord, ...]], tuple[PassRecord, ...]],
    says: str,
    just_now: bool,
) -> None:
    record, rule = record_of(nano_artifacts, "coarse"), load_gates().audit
    path = tmp_path / "coarse.onnx"
    path.write_bytes(nano_artifacts.path(record).read_bytes())
    told_of_itself(path, passes := change(record.passes))
    made = Made(fingerprint(ir.load(path)), record.passes) if just_now else None
    wrong = renamed(record, passes)
    found = audit(models, wrong, path, rule, origin=SAME, made=made)
    assert found.value == 1 and says in found.message
    older = audit(models, wrong, path, rule, origin=OLDER, made=made)
    named = {p.name for p in passes} == {p.name for p in record.passes}
    assert older.value == 0 and (bool(older.doubt) or named)
    # The manifest alone, or the file alone, is at odds with the other.
    for origin in (SAME, OLDER):
        alone = audit(models, record, path, rule, origin=origin, made=made)
        assert "the file tells other passes of itself than manifest.json" in alone.message


def _attribute(model: ir.Model) -> None:
    node = next(node for node in model.graph if node.op_type == "Softmax")
    node.attributes["axis"] = ir.AttrInt64("axis", 1)


def _extra(model: ir.Model) -> None:
    spare = ir.Value(name="spare", const_value=ir.tensor(np.ones(3, np.float32), name="spare"))
    model.graph.register_initializer(spare)


def _note(model: ir.Model) -> None:
    model.graph.doc_string = "edited"


@pytest.mark.parametrize(
    "change, says", [(_attribute, "Softmax"), (_extra, "spare"), (_note, "notes")]
)
def test_structure_counts_and_so_does_what_nothing_uses(
    nano_artifacts: Artifacts,
    models: ModelSet,
    tmp_path: Path,
    change: Callable[[ir.Model], None],
    says: str,
) -> None:
    record = record_of(nano_artifacts, "coarse")
    path = replanted(nano_artifacts.path(record), change, tmp_path)
    rule = load_gates().audit
    found = audit(models, record, path, rule, origin=SAME)
    assert found.value >= 1 and says in found.message
    older = audit(models, record, path, rule, origin=OLDER)
    assert older.value == 0 and older.doubt


@pytest.mark.parametrize("origin", [SAME, OLDER])
@pytest.mark.parametrize("just_now", [True, False])
def test_a_fact_is_held_to_the_model_whatever_made_the_file(
    nano_artifacts: Artifacts, models: ModelSet, tmp_path: Path, origin: Origin, just_now: bool
) -> None:
    record, rule = record_of(nano_artifacts, "codec_decoder"), load_gates().audit
    wrong = record.model_copy(update={"facts": record.facts | {"context_frames": 0}})

    def tell(model: ir.Model) -> None:
        model.metadata_props["vampnet_onnx.facts"] = json.dumps(wrong.facts, sort_keys=True)

    path = replanted(nano_artifacts.path(record), tell, tmp_path)
    made = Made(fingerprint(ir.load(path)), record.passes) if just_now else None
    found = audit(models, wrong, path, rule, origin=origin, made=made)
    expected = record.facts["context_frames"]
    assert found.value == 1
    assert found.message == f"fact context_frames is 0, expected {expected}"


def test_a_generators_defaults_are_those_of_its_model(
    generator_artifacts: Artifacts, models: ModelSet
) -> None:
    record, rule = record_of(generator_artifacts, "c2f.generator"), load_gates().audit
    path = generator_artifacts.path(record)
    made = Made(fingerprint(read_graph(path)), record.passes)
    assert audit(models, record, path, rule, origin=SAME, made=made).value == 0
    wrong = record.model_copy(update={"defaults": record.defaults | {"steps": 9}})
    found = _wrong_facts(wrong, build_component("c2f", models, variant="generator"), SAME)
    assert found == ["default steps is 9, expected 2"]


def test_what_was_exported_just_now_is_not_exported_again(
    nano_artifacts: Artifacts,
    models: ModelSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = record_of(nano_artifacts, "coarse")
    path = nano_artifacts.path(record)
    made, rule = Made(fingerprint(ir.load(path)), record.passes), load_gates().audit
    wrong = edited(path, "embedding.tables.1", row(7, -1), tmp_path)
    found = audit(models, record, wrong, rule, origin=SAME, made=made)
    assert found.value == 1
    monkeypatch.delattr(gate, "exported_afresh")
    assert audit(models, record, path, rule, origin=SAME, made=made) == Measured(0)


@pytest.mark.parametrize(
    "source, torch, says",
    [
        ("a", "2", ()),
        ("", "2", ("another source of ours",)),
        ("b", "1", ("another source of ours", "torch 1")),
    ],
)
def test_the_origin_says_what_was_another_then(
    source: str, torch: str, says: tuple[str, ...]
) -> None:
    found = Origin.of(source, {"torch": torch}, ours="a", tools={"torch": "2"})
    assert found.differs == says


@pytest.mark.parametrize("name, factor", [("", 1), ("self_attn.fc", 1.05), ("w_2", 2)])
def test_a_form_is_held_to_the_same_form_of_its_checkpoint(
    forms_a: Path, golden_a: GoldenSet, tmp_path: Path, name: str, factor: float
) -> None:
    """A scale that is 5 % off hides behind the rounding of all others, but not here."""
    record = record_of(open_artifacts(forms_a), "coarse.int8")
    path = forms_a / record.file.name
    if name:
        weights = read_graph(path).graph.initializers
        scales = next(w for w in weights if name in w and w.endswith("_scales"))
        path = edited(path, scales, lambda value: value * np.float32(factor), tmp_path)
    models = open_models(golden_a.folder)
    for origin in (SAME, OLDER):  # a manifest that says so hides nothing of a form
        found = audit(models, record, path, load_gates().audit, origin=origin)
        assert found.value == bool(name)
        assert all(name in module for module in found.modules)
