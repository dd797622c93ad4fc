"""The command localise."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx_ir as ir

from tests.support.command_line import Cli, process, refused
from tests.support.edited import replanted, scaled
from vampnet_onnx.configs.artifacts import Artifacts


def test_localise_wants_one_thing_to_compare_with(
    cli: Cli, store: Path, nano: Path, tmp_path: Path
) -> None:
    refused(cli("localise", store), "give --checkpoint DIR")
    refused(cli("localise", store, store, "--checkpoint", nano), "give --checkpoint DIR")
    refused(cli("localise", store, store, "--reference", "golden"), "--reference golden")
    refused(cli("localise", store, "--checkpoint", nano, "--component", "c2f"), "coarse")
    golden = ("--reference", "golden", "--checkpoint", nano)
    refused(cli("localise", store, *golden), "no recorded set")


def test_localise_finds_nothing_in_a_sound_version(cli: Cli, store: Path, nano: Path) -> None:
    result = cli("localise", store, "--checkpoint", nano, "--json")
    (walked,) = result.json["walked"]
    assert result.code == 0 and walked["culprits"] == []
    assert walked["findings"] and walked["unsealed"] == []
    assert "NaN" in [finding["own_error"] for finding in walked["findings"]]


def test_localise_walks_every_component_and_never_cuts_a_name(
    cli: Cli, nano_artifacts: Artifacts, nano: Path, tmp_path: Path
) -> None:
    version = Path(shutil.copytree(nano_artifacts.folder, tmp_path / "a b"))
    module = "transformer.layers.0.self_attn.w_vs"
    for name in ("c2f.onnx", "c2f.latents.onnx"):
        scaled(version / name, f"{module}.weight", 1.01, tmp_path).replace(version / name)
    given = ("localise", version, "--unsealed", "--checkpoint", nano)
    found = process(*given)  # a pipe, of 80 columns
    printed, _ = found.communicate(timeout=300)
    assert found.returncode == 1
    lines = printed.splitlines()
    first = next(line for line in lines if "comes from" in line)
    assert lines.index(first) < 5 and f"{module}: weight scaled by 1.01" in first
    assert lines[-1] == "2 of 6 walks found a culprit: c2f, c2f.latents"
    for record in nano_artifacts.manifest.components:
        assert sum(line.startswith(f"{record.id}/seed=0/") for line in lines) == 1
    assert "…" not in printed and len(lines) < 60
    walked = cli(*given, "--json").json["walked"]
    assert [len(item["culprits"]) for item in walked] == [0, 0, 0, 0, 1, 1]
    assert all("scaled by 1.01" in item["happened"][module] for item in walked[-2:])


def test_a_graph_that_differs_where_no_case_shows_it_is_told_of(
    cli: Cli, store: Path, tmp_path: Path
) -> None:
    old = store / "nano" / "v1"
    new = Path(shutil.copytree(old, tmp_path / "new"))

    def copied(model: ir.Model) -> None:  # a copy more, of no effect
        node = next(n for n in model.graph if n.op_type == "Softmax")
        value = node.outputs[0]
        copy = ir.node("Identity", [value], name=f"{node.name}/copy")
        copy.metadata_props.update(node.metadata_props)
        ir.convenience.replace_all_uses_with(value, copy.outputs[0])
        copy.replace_input_with(0, value)
        model.graph.insert_after(node, copy)

    file = new / "coarse.onnx"
    replanted(file, copied, tmp_path).replace(file)
    result = cli("localise", old / "coarse.onnx", file)
    assert result.code == 1 and "no module goes wrong on this case, but the file" in result.out
    assert "the file differs, and no case that was walked shows it: coarse" in result.out
    assert "give --case as verify names it" in result.out
    assert "no module introduces an error" not in result.out
    assert cli("localise", old / "coarse.onnx", old / "coarse.onnx").code == 0
    compared = cli("compare", old, new, "--unsealed")
    assert compared.code == 0 and "but its graph differs" in compared.out


def test_a_file_that_is_no_graph_is_refused_with_one_message(
    cli: Cli, nano: Path, tmp_path: Path
) -> None:
    for content in (b"", b"no graph at all", b"\x08\x0a" * 40):
        (tmp_path / "x.onnx").write_bytes(content)
        refused(cli("localise", tmp_path / "x.onnx", "--checkpoint", nano), "x.onnx")
