"""The command replay, on what localise writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.support.command_line import Cli, refused
from tests.support.edited import scaled
from vampnet_onnx.export.onnx_file import save_graph

NAME = "transformer.layers.0.self_attn.w_vs"


@pytest.fixture
def bundle(cli: Cli, store: Path, tmp_path: Path) -> Path:
    """What localise writes of a file with one weight 1 % too large."""
    (old,) = store.rglob("coarse.onnx")
    new = scaled(old, f"{NAME}.weight", 1.01, tmp_path)
    folder = tmp_path / "bundle"
    result = cli("localise", old, new, "--bundle", folder)
    assert result.code == 1
    assert f"the error comes from {NAME}" in result.out
    assert (
        f"bundle of {NAME} in {folder}; run it with: vampnet-onnx replay {folder}"
        in result.err
    )
    return folder


def test_replay_finds_the_module_still_wrong(cli: Cli, bundle: Path) -> None:
    result = cli("replay", bundle)
    assert result.code == 1
    assert f"coarse, {NAME}" in result.out
    assert "coarse/seed=0/batch=2/length=23" in result.out
    assert "error     0.01 (recorded 0.01)" in result.out
    assert "output    the recorded one" in result.out
    assert "still wrong" in result.out
    found = cli("replay", bundle, "--json")
    assert found.code == 1 and found.json["wrong"] and found.json["same"]
    assert found.json["facts"]["module"] == NAME
    assert found.json["error"] == pytest.approx(0.01, rel=1e-3)


def test_replay_of_a_mended_module_agrees_with_the_reference(cli: Cli, bundle: Path) -> None:
    model = ir.load(bundle / "module.onnx")
    weight = model.graph.initializers[f"{NAME}.weight"]
    assert weight.const_value is not None
    mended = weight.const_value.numpy() / np.float32(1.01)
    weight.const_value = ir.tensor(mended)
    save_graph(model, bundle / "module.onnx")
    result = cli("replay", bundle)
    assert result.code == 0
    assert "output    not the recorded one" in result.out
    assert "agrees with the reference" in result.out


def test_replay_refuses_what_is_no_bundle(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    refused(cli("replay", tmp_path), "not a bundle of localise")
    facts = json.loads((bundle / "bundle.json").read_text("utf-8"))
    (bundle / "bundle.json").write_text(json.dumps({**facts, "more": 1}), "utf-8")
    refused(cli("replay", bundle), "not a bundle of localise")
