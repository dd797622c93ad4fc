"""Configurations: what is read, what is refused, and the names suggested instead."""

from __future__ import annotations

import math
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from vampnet_onnx.configs.config import Config, config_from, load_config, load_gates
from vampnet_onnx.configs.errors import InputError, nearest
from vampnet_onnx.export.components.registry import COMPONENTS

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.name for path in (ROOT / "configs").glob("*.toml"))
MINIMAL: dict[str, Any] = {"model": "mine", "checkpoint": {"path": "checkpoints"}}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        config_from(values, source="my.toml")
    message = str(caught.value)
    assert message.startswith("my.toml: ") and "\n" not in message
    return message


def written(folder: Path, text: str) -> Path:
    path = folder / "my.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_embedded_demo_is_valid_and_small() -> None:
    demo = load_config(None)
    assert demo.checkpoint.path is not None and demo.checkpoint.like is None
    assert (demo.checkpoint.path / "codec.pth").is_file()
    assert demo.model == "demo" and len(demo.verify.seeds) >= 2


def test_what_a_file_leaves_out_comes_from_the_defaults() -> None:
    defaults = tomllib.loads((ROOT / "configs/defaults.toml").read_text("utf-8"))
    config = config_from(MINIMAL, source="my.toml")
    assert config.verify.model_dump() == defaults["verify"]
    assert config.export.opset == defaults["export"]["opset"]


def test_the_default_matrix_is_what_verification_promises() -> None:
    """One frame; below, at and above the traced size; beyond the last position bucket."""
    frames = config_from(MINIMAL, source="my.toml").verify.frames
    assert 1 in frames and 13 in frames and max(frames) > 128
    assert any(1 < f < 13 for f in frames) and any(13 < f < 128 for f in frames)
    assert {1, 3} <= set(config_from(MINIMAL, source="my.toml").verify.batches)


@pytest.mark.parametrize(
    "change, wrong, meant",
    [
        ({"modle": "x"}, "modle", "model"),
        ({"exprot": {}}, "exprot", "export"),
        ({"export": {"opsett": 20}}, "export.opsett", "opset"),
        ({"verify": {"seed": [1]}}, "verify.seed", "seeds"),
        ({"checkpoint": {"path": "x", "pth": "y"}}, "checkpoint.pth", "path"),
        ({"output": {"artefacts": "x"}}, "output.artefacts", "artifacts"),
    ],
)
def test_an_unknown_key_suggests_the_nearest_name(
    change: dict[str, Any], wrong: str, meant: str
) -> None:
    message = refusal({**MINIMAL, **change})
    assert f"unknown key '{wrong}' (did you mean '{meant}'?)" in message


def test_an_unknown_key_unlike_any_other_suggests_nothing() -> None:
    assert "unknown key 'zzz'" in refusal({**MINIMAL, "zzz": 1})
    assert "did you mean" not in refusal({**MINIMAL, "zzz": 1})
    assert nearest("zzz", ["model"]) == ""


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("export", "opset", 17),
        ("export", "opset", 24),
        ("export", "opset", "20"),
        ("export", "opset", 20.5),
        ("export", "inputs", []),
        ("export", "inputs", ["text"]),
        ("export", "components", []),
        ("export", "components", ["coarse", "decoder"]),
        ("export", "components", "coarse"),
        ("export", "external_data", "perhaps"),
        ("verify", "seeds", []),
        ("verify", "seeds", [-1]),
        ("verify", "seeds", [1 << 63]),
        ("verify", "seeds", 3),
        ("verify", "frames", [0]),
        ("verify", "frames", []),
        ("verify", "batches", [1.5]),
        ("verify", "frames", [1 << 30]),
        ("verify", "threads", -1),
        ("checkpoint", "lora", {"codec": "x.pth"}),
        ("checkpoint", "path", 3),
        ("checkpoint", "seed", -1),
        ("output", "report", []),
    ],
)
def test_an_impossible_value_is_named_with_its_key(
    section: str, key: str, value: object
) -> None:
    values = {**MINIMAL, section: {**MINIMAL.get(section, {}), key: value}}
    assert f"{section}.{key}" in refusal(values)


def test_the_components_to_ask_for_are_those_that_there_are() -> None:
    asked = {**MINIMAL, "export": {"components": list(COMPONENTS)}}
    assert config_from(asked, source="my.toml").export.components == list(COMPONENTS)
    for other in ("transformer", "generation", "every", "ties", 3):
        said = refusal({**MINIMAL, "export": {"components": [other]}})
        assert said.endswith(", ".join(map(repr, COMPONENTS[:-1])) + " or 'sampler'")


@pytest.mark.parametrize("section", ["checkpoint", "export", "verify", "output", "gates"])
@pytest.mark.parametrize("value", ["text", 3, [1]])
def test_a_section_that_is_no_table_is_refused(section: str, value: object) -> None:
    assert section in refusal({**MINIMAL, section: value})


@pytest.mark.parametrize(
    "name", ["", "../up", "a/b", ".hidden", "x" * 65, "with space", "-dash", "new\nline", 3]
)
def test_a_model_name_that_is_no_folder_name_is_refused(name: object) -> None:
    assert "model" in refusal({**MINIMAL, "model": name})


def test_a_missing_model_name_is_said_to_be_missing() -> None:
    assert "key 'model' is missing" in refusal({"checkpoint": {"path": "x"}})


@pytest.mark.parametrize(
    "checkpoint", [{}, {"path": "x", "like": "tiny"}, {"packaged": "demo", "like": "tiny"}]
)
def test_one_source_of_weights_is_needed_and_no_second(checkpoint: dict[str, str]) -> None:
    message = refusal({"model": "mine", "checkpoint": checkpoint})
    assert "give one of checkpoint.path (a folder), checkpoint.packaged" in message


def test_a_packaged_set_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    message = refusal({"model": "x", "checkpoint": {"packaged": "opera"}})
    assert "'opera'" in message and "demo" in message


def test_every_mistake_of_a_file_is_named_at_once() -> None:
    message = refusal({"checkpoint": {"path": "x"}, "export": {"opset": 3, "inptus": []}})
    assert all(part in message for part in ("'model'", "export.opset", "export.inptus"))


def test_input_paths_are_relative_to_the_file_and_output_paths_are_not(
    tmp_path: Path,
) -> None:
    path = written(
        tmp_path,
        'model = "mine"\n[checkpoint]\npath = "weights"\n'
        'codec = "models/codec.pth"\n[checkpoint.lora]\n'
        'coarse = "style.pth"\nc2f = "/elsewhere/style.pth"\n[output]\nreport = "out"\n',
    )
    config = load_config(path)
    assert config.checkpoint.path == tmp_path / "weights"
    assert config.checkpoint.codec == tmp_path / "models" / "codec.pth"
    assert config.checkpoint.lora["coarse"] == tmp_path / "style.pth"
    assert config.checkpoint.lora["c2f"] == Path("/elsewhere/style.pth")
    assert config.output.report == Path("out")
    assert config.output.artifacts == Path("artifacts")


def test_a_byte_order_mark_is_no_part_of_a_configuration(tmp_path: Path) -> None:
    text = b'model = "mine"\r\n[checkpoint]\r\nlike = "tiny"\r\n'
    path = tmp_path / "my.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text)  # as editors on Windows write it
    assert load_config(path).model == "mine"


@pytest.mark.parametrize(
    "data, words",
    [
        (b"model = ", "not a TOML file"),
        (b"\xff\xfe\x00", "not a TOML file"),
        (b"[a]\n[a]\n", "not a TOML file"),
        (b"\x80\x02}", "not a TOML file"),
        (b"", "key 'model' is missing"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, data: bytes, words: str
) -> None:
    path = tmp_path / "my.toml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words):
        load_config(path)


def test_a_path_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such configuration file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        load_config(tmp_path / ("x" * 300))


# Gates.


def test_every_gate_has_a_reason_and_the_limits_asked_for() -> None:
    gates = load_gates()
    for name, rules in gates.kinds.items():
        assert rules, name
        for metric, rule in rules.items():
            assert len(rule.reason) > 20, f"{name}.{metric}"
            assert math.isfinite(rule.limit)
    kinds = ("codec_encoder", "codec_decoder", "transformer")
    encoder, decoder, transformer = (gates.kinds[kind] for kind in kinds)
    assert transformer["relative_l2"].limit <= 1e-5
    assert encoder["relative_l2"].limit <= 1e-5
    assert decoder["max_abs"].limit <= 2e-4 and decoder["snr_db"].limit >= 80
    for rules in (encoder, transformer):
        assert rules["tokens_unexplained"].limit == 0
        assert rules["tokens_ambiguous_share"].limit <= 1e-3
    for rules in gates.kinds.values():
        assert rules["nonfinite"].limit == rules["vacuous_limits"].limit == 0


SHARED = [
    "nonfinite",
    "input_sensitivity",
    "signature_mismatches",
    "audit",
    "modules",
    "vacuous_limits",
    "identical_sides",
]


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_has_gates_of_its_own_and_then_the_shared_ones(name: str) -> None:
    found = list(load_gates().for_component(name))
    own = found[: -len(SHARED)]
    assert own and found == [*own, *SHARED]


def test_a_table_replaces_part_of_a_shared_gate_or_does_without_it() -> None:
    gates = load_gates()
    generation, coarse = gates.for_component("generation"), gates.for_component("coarse")
    assert [n for n in SHARED if n not in generation] == [
        "signature_mismatches",
        "audit",
        "modules",
    ]
    found, shared = (rules["input_sensitivity"] for rules in (generation, coarse))
    assert found == shared.model_copy(update={"reason": found.reason}) != shared


def test_a_configuration_may_set_the_limit_of_a_gate() -> None:
    overrides = {"transformer": {"relative_l2": {"limit": 3e-6}}}
    config = config_from({**MINIMAL, "gates": overrides}, source="my.toml")
    gates = load_gates(config.gates)
    assert gates.for_component("c2f")["relative_l2"].limit == 3e-6
    assert gates.kinds["codec_encoder"] == load_gates().kinds["codec_encoder"]
    assert gates.for_component("c2f")["relative_l2"].direction == "at most"


def test_the_limit_of_a_shared_gate_is_set_for_one_component_alone() -> None:
    gates = load_gates({"sampler": {"nonfinite": {"limit": 2}}})
    assert gates.for_component("sampler")["nonfinite"].limit == 2
    assert gates.for_component("mask_generator")["nonfinite"].limit == 0


@pytest.mark.parametrize(
    "overrides, words",
    [
        ({"transfomer": {"relative_l2": {"limit": 1}}}, "did you mean 'transformer'?"),
        ({"transformer": {"relativ_l2": {"limit": 1}}}, "did you mean 'relative_l2'?"),
        ({"codec_decoder": {"tokens_unexplained": {"limit": 1}}}, "no such gate"),
        ({"coarse": {"relative_l2": {"limit": 1}}}, "known are"),
        ({"transformer": {"relative_l2": {"limt": 1}}}, "only 'limit' can be set"),
        ({"transformer": {"relative_l2": {}}}, "only 'limit' can be set"),
        ({"ties": {"codes_margin": {"limit": 1}}}, "no such gate"),
        ({"every": {"nonfinite": {"limit": 1}}}, "known are codec_encoder"),
        ({"generation": {"signature_mismatches": {"limit": 1}}}, "no such gate"),
        ({"noise": {"cap": {"limit": 1}}}, "no such gate"),
    ],
)
def test_an_override_of_what_is_no_gate_is_refused(
    overrides: dict[str, dict[str, dict[str, float]]], words: str
) -> None:
    with pytest.raises(InputError, match="gates") as caught:
        load_gates(overrides)
    assert words in str(caught.value)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "1e-5", None])
def test_a_limit_that_is_no_finite_number_is_refused(value: object) -> None:
    """A limit of infinity could not fail, and a limit of NaN could not hold."""
    overrides = {"transformer": {"relative_l2": {"limit": value}}}
    assert "gates.transformer.relative_l2.limit" in refusal({**MINIMAL, "gates": overrides})


# Shipped files.


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_file_is_valid_and_read_by_something(name: str) -> None:
    assert tomllib.loads(
        resources.files("vampnet_onnx.configs").joinpath(name).read_text("utf-8")
    )
    folders = ("commands", "configs", "export", "models", "pipeline", "reports", "verify")
    code = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    readers = [path for path in code if f'"{name}"' in path.read_text("utf-8")]
    assert readers, f"nothing reads configs/{name}"


def test_a_configuration_round_trips_through_plain_values() -> None:
    config = config_from({**MINIMAL, "gates": {}}, source="my.toml")
    assert Config.model_validate(config.model_dump()) == config


def test_a_codec_of_ones_own_goes_with_a_folder() -> None:
    said = refusal({"model": "m", "checkpoint": {"packaged": "demo", "codec": "codec.pth"}})
    assert "checkpoint.codec goes with checkpoint.path" in said
