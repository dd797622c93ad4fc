"""The command quantise, and what export makes of its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Cli, process, refused
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.leave import read_leave
from vampnet_onnx.export import export_set

SEARCH = ("--search", "--agreement", "0.98", "--variant", "w4")


def test_quantise_refuses_what_cannot_be(run: Cli, exported_a: Path) -> None:
    given = ("quantise", exported_a)
    refused(run(*given, "--search"), "--search and --agreement")
    refused(run(*given, "--agreement", "0.98"), "--search and --agreement")
    refused(run(*given, "--out", "x.toml"), "--out", "--search")
    refused(run(*given, "--search", "--agreement", "1.5"), "--agreement 1.5")
    refused(run(*given, "--variant", "int9"), "--variant int9", "int8")
    refused(run(*given, "--clip", "nowhere.wav"), "nowhere.wav")
    refused(run(*given, "--plot", "nowhere/x.svg", "--seeds", "a"), "--seeds a")


def test_what_is_found_is_what_export_leaves(run: Cli, exported_a: Path, nano: Path) -> None:
    given = ("quantise", exported_a, *SEARCH, "--component", "coarse")
    result = run(*given, "--out", "w4.toml", "--plot", "w4.svg")
    assert result.code == 0 and "agreement" in result.out and Path("w4.svg").exists()
    line = "export it with --checkpoint, the folder of c2f.pth, coarse.pth, codec.pth: vampnet"
    assert f"{line}-onnx export --variants fp32,w4 --leave w4.toml" in result.out
    first = Path("w4.toml").read_bytes()
    again = run(*given, "--out", "w4.toml", "--no-cache", "--json")
    (row,) = again.json["found"]
    assert Path("w4.toml").read_bytes() == first
    left = read_leave(Path("w4.toml"))["w4"]["coarse"]
    assert left.left and row["table"]["left"] == left.left
    export = ("export", "--component", "coarse", "--leave", "w4.toml")
    made = run(
        *(*export, "--checkpoint", GOLDEN / "a", "--variants", "fp32,w4"),
        *("--input", "codes", "--input", "latents"),
    )
    manifest = json.loads(Path("artifacts/a/v1/manifest.json").read_text())
    by_variant = {record["variant"]: record for record in manifest["components"]}
    assert made.code == 0
    for variant in ("w4", "latents.w4"):  # of both entries the same layers
        assert set(left.left) <= by_variant[variant]["left"].keys()
        assert all(0 < error < 1 for error in by_variant[variant]["left"].values())
    refused(
        run(*export, "--checkpoint", GOLDEN / "a", "--variants", "fp32,int8"),
        *("w4.toml", "which is not exported"),
    )
    with pytest.MonkeyPatch.context() as patched:  # before any graph is made
        patched.setattr(export_set, "Graphs", pytest.fail)
        other = run(*export, "--checkpoint", nano, "--variants", "fp32,w4")
    refused(other, "measured of another checkpoint")
    text = first.decode().replace(left.left[0], "elsewhere.weight")
    Path("w4.toml").write_text(text)
    wrong = run(*export, "--checkpoint", GOLDEN / "a", "--variants", "fp32,w4")
    refused(wrong, "no product with elsewhere.weight")


def test_the_table_is_never_cut(exported_a: Path) -> None:
    found = process("quantise", exported_a, "--component", "coarse", "--variant", "w8")
    printed, _ = found.communicate(timeout=300)
    assert found.returncode == 0 and "…" not in printed
    (line,) = [x for x in printed.splitlines() if x.startswith("classifier.layers.0.weight")]
    assert len(line.split()) == 5
