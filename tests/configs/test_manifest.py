"""Manifests: what they hold, and values of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.versions import edit, published, staged_version
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import GateRecord


@pytest.mark.parametrize(
    "key, value",
    [
        ("schema_version", 99),
        ("components", None),
        ("extra", 1),
        ("random_weights", "?"),
        ("sources", [{}]),
        ("model", None),
    ],
)
def test_a_manifest_of_another_shape_is_refused_by_key(
    home: Path, tmp_path: Path, key: str, value: object
) -> None:
    folder = published(home, tmp_path)
    edit(folder, lambda values: values.update({key: value}))
    with pytest.raises(InputError, match="manifest") as caught:
        open_artifacts(folder)
    assert key in str(caught.value) or key == "schema_version"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e-7, None])
def test_gate_values_of_every_kind_survive_the_manifest(
    tmp_path: Path, value: float | None
) -> None:
    gate = GateRecord(component="coarse", name="snr_db", verdict="PASS", value=value, limit=80)
    folder = staged_version(tmp_path / "v1", gates=(gate,))
    found = open_artifacts(folder).manifest.gates[0].value
    assert found == value or (found != found and value != value)
    json.loads((folder / "manifest.json").read_text("utf-8"), parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_a_manifest_holds_no_time_and_no_place(tmp_path: Path) -> None:
    folder = staged_version(tmp_path / "somewhere-special")
    text = (folder / "manifest.json").read_text("utf-8")
    assert "special" not in text and set(json.loads(text)) == {
        "schema_version",
        "model",
        "random_weights",
        "sources",
        "toolchain",
        "source",
        "components",
        "adapters",
        "gates",
    }


def test_bf16_is_no_file_but_what_is_made_of_one(home: Path, tmp_path: Path) -> None:
    folder = published(home, tmp_path)
    found = open_artifacts(folder).manifest
    names = ("sampler", ""), ("coarse", "latents"), ("coarse", "latents.int8")
    parts = tuple(
        found.components[0].model_copy(update={"name": name, "variant": variant})
        for name, variant in names
    )
    made = found.model_copy(update={"components": parts}).in_bf16()
    assert [part.id for part in made.components] == ["sampler", "coarse.latents.bf16"]
    assert made.in_bf16() == made
    edit(folder, lambda values: values["components"][0].update(name="coarse", variant="bf16"))
    with pytest.raises(InputError, match=r"coarse\.bf16 is none of a file"):
        open_artifacts(folder)
