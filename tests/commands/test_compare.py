"""The command compare."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.checked import weights_of
from tests.support.command_line import Cli, refused, vouch_for
from tests.support.exports import without
from tests.support.versions import edit
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.reports import read_report
from vampnet_onnx.reports.render import FILES
from vampnet_onnx.verify.self_test.planted import plant_copy
from vampnet_onnx.verify.self_test.run import chosen_defects


def test_compare_exits_with_1_where_versions_depart(
    cli: Cli, store: Path, tmp_path: Path
) -> None:
    old = store / "nano" / "v1"
    new = Path(shutil.copytree(old, tmp_path / "new"))
    assert cli("compare", old, new).code == 0
    vouch_for(new, lambda record: record["dims"].update(n_heads=7))
    result = cli("compare", old, new, "--json")
    assert result.code == 1 and result.json["holds"] is False
    assert result.json["components"][0]["dims"] == ["n_heads 3 is now 7"]
    refused(cli("compare", old, old), "compared with itself")


def test_what_departs_stands_last_above_the_verdict_that_names_it(
    cli: Cli, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    old, new = nano_artifacts.folder, tmp_path / "new"
    plant_copy(old, chosen_defects(["RowTooLoud"])[0], new)
    *others, departs, why, _, _, verdict = cli("compare", old, new).out.splitlines()
    assert len(others) == 5 and all(line.endswith("same file") for line in others)
    assert departs.startswith("  codec_decoder ") and "scaled by 30" in why
    assert verdict == "the new version departs from the old version in codec_decoder"


def test_files_edited_by_hand_are_compared_as_they_are(
    cli: Cli, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = store / "nano" / "v1"
    new = Path(shutil.copytree(old, tmp_path / "a folder" / "new"))
    model = onnx.load(str(new / "coarse.onnx"))
    for i, tensor in enumerate(model.graph.initializer):
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and array.size > 1:
            scale = np.float32(1 + 1e-7 * (i + 20))
            tensor.CopyFrom(numpy_helper.from_array(array * scale, tensor.name))
    onnx.save(model, str(new / "coarse.onnx"))
    monkeypatch.setenv("COLUMNS", "40")  # nothing is cut, however narrow
    shown = cli("compare", old, new, "--unsealed")
    lines = shown.out.splitlines()
    assert [line for line in lines if "unsealed" in line] == [
        f"  unsealed: no manifest vouches for {new / 'coarse.onnx'} as it is"
    ]
    assert "same file" not in shown.out and "None" not in shown.out and "nan" not in shown.out
    told = [line for line in lines if line.startswith("    weight changed: ")]
    assert len(told) == 12 and all("scaled by 1.00000" in line for line in told)
    assert any("transformer.layers.0.feed_forward.w_1.weight" in line for line in told)
    data = json.loads(cli("compare", old, new, "--unsealed", "--json").out)
    changes = data["components"][0]["graph"]
    assert f"and {len(changes) - 12} changes more (--json has them all)" in shown.out
    assert {item["kind"] for item in changes} == {"weight changed"}
    assert data["unsealed"] == [str(new / "coarse.onnx")]


def test_a_new_version_that_does_not_run_departs(
    cli: Cli, store: Path, tmp_path: Path
) -> None:
    old = store / "nano" / "v1"
    new = Path(shutil.copytree(old, tmp_path / "new"))
    model = onnx.load(new / "coarse.onnx")
    table = weights_of(model, "embedding.tables.0")
    short = numpy_helper.to_array(table)[:2]  # of which most codes are not
    table.CopyFrom(numpy_helper.from_array(short, table.name))
    onnx.save(model, new / "coarse.onnx")
    result = cli("compare", old, new, "--unsealed")
    assert result.code == 1 and "coarse.onnx: does not run: " in result.out
    refused(cli("compare", new, old, "--unsealed"), "coarse.onnx: does not run: ")


def test_another_opset_is_told_once_in_plain_words(
    cli: Cli, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    old = without(
        nano_artifacts.folder, tmp_path / "old", "codec_encoder", "codec_decoder", "c2f"
    )
    new = Path(shutil.copytree(old, tmp_path / "new"))
    for path in new.glob("coarse*.onnx"):
        model = onnx.load(path)
        model.opset_import[0].version = 21
        for fact in model.metadata_props:
            fact.value = "21" if fact.key == "vampnet_onnx.opset" else fact.value
        onnx.save(model, path)
    for number in range(2):
        vouch_for(new, lambda record: record.update(opset=21), number=number)
    shown = cli("compare", old, new)
    assert [line for line in shown.out.splitlines() if "opset" in line] == [
        "  exported for opset 20, now for opset 21: every file"
    ]
    data = cli("compare", old, new, "--json").json["components"]
    assert [part["opsets"] for part in data] == [[20, 21], [20, 21]]
    assert {change["kind"] for part in data for change in part["graph"]} == {"opset"}


def test_a_report_of_a_comparison_names_the_module_and_the_command(
    cli: Cli, store: Path, tmp_path: Path
) -> None:
    old, out = store / "nano" / "v1", tmp_path / "report"
    new = Path(shutil.copytree(old, tmp_path / "new"))
    same = cli("compare", old, new, "--report", out, "--json")
    assert same.code == 0 and sorted(same.json["report"]) == sorted(FILES)
    report = read_report(out / FILES["json"])
    assert report.verdict == "PASS" and report.run is not None
    assert all(
        part.told == ["the files are the same, byte for byte"] for part in report.components
    )
    assert not report.notes
    edit(new, lambda manifest: manifest.update(source="0" * 64))
    edit(new, lambda manifest: manifest["sources"][0].update(sha256="0" * 64))
    model, module = onnx.load(new / "coarse.onnx"), "transformer.layers.0.feed_forward.w_1"
    weight = weights_of(model, f"{module}.weight")
    array = numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, new / "coarse.onnx")
    shown = cli("compare", old, new, "--report", out, "--unsealed")
    assert shown.code == 1 and f"{out / FILES['html']} (in place of" in shown.out
    report = read_report(out / FILES["json"])
    assert report.verdict == "FAIL" and "departs from the old one in coarse." in str(report)
    assert report.notes[-2:] == [
        f"made from another {report.sources[0].name}",
        "exported by another version of vampnet-onnx",
    ]
    (cause,) = (cause for part in report.components for cause in part.causes)
    assert cause.module == module and "scaled by 1.01" in cause.what
    (part,) = (part for part in report.components if part.verdict == "FAIL")
    assert cause.case == part.worst_case in {c.id for c in part.cases if c.verdict == "FAIL"}
    assert {gate.name for gate in part.gates if gate.verdict == "FAIL"} >= {"relative_l2"}
    assert ET.parse(out / FILES["junit"]).getroot().get("failures") == "1"
    for kind in ("html", "markdown"):
        assert module in (out / FILES[kind]).read_text("utf-8").replace("\\_", "_")
    words = shlex.split(cause.command)
    assert words[:3] == ["vampnet-onnx", "localise", str(old)]
    again = cli(*words[1:], "--json")
    assert again.code == 1 and again.json["culprits"] == [module]


def test_a_component_that_is_missing_is_a_failure_of_the_report(
    cli: Cli, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    codec = ("codec_encoder", "codec_decoder")
    old = without(nano_artifacts.folder, tmp_path / "old", *codec)
    new = without(old, tmp_path / "new", "c2f")
    out = tmp_path / "report"
    assert cli("compare", old, new, "--report", out).code == 1
    report = read_report(out / FILES["json"])
    broken = [part for part in report.components if part.verdict == "FAIL"]
    assert broken and {part.name for part in broken} == {"c2f"}
    assert all("missing in the new version" in part.causes[0].what for part in broken)
    assert f"lacks {broken[0].id}" in report.verdict_line
    failures = ET.parse(out / FILES["junit"]).getroot().get("failures")
    assert failures == str(len(broken))
