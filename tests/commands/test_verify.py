"""The command verify: verdicts, exit codes, and what cannot be verified."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import numpy_helper
from typer.testing import CliRunner

from tests.support.checked import weights_of
from tests.support.command_line import (
    Cli,
    Result,
    files_below,
    process,
    refused,
    vouch_for,
)
from tests.support.sets import GOLDEN
from vampnet_onnx.commands.output import LINE_STARTS
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.verification import read_verification
from vampnet_onnx.program import app
from vampnet_onnx.reports import read_report, render
from vampnet_onnx.reports.history import read_history
from vampnet_onnx.verify import jobs as verify_jobs
from vampnet_onnx.verify.sides.runtimes.javascript import InJavaScript


def verify(cli: Cli, store: Path, nano: Path, config: Path, *more: object) -> Result:
    return cli(
        "verify",
        store,
        "--checkpoint",
        nano,
        "--config",
        config,
        "--report",
        config.parent / "report",
        *more,
    )


def test_verify_passes_and_writes_every_rendering(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    result = verify(cli, store, nano, config, "--json")
    assert result.code == 0
    found = result.json
    assert found["verdict"] == "PASS" and "RANDOM WEIGHTS" in found["verdict_line"]
    report = read_report(found["report"]["json"])
    assert report.run is not None and report.run.seconds > 0 and report.run.date
    for part in report.components:
        assert 0 < sum(case.seconds for case in part.cases) <= part.seconds
        rows = found["gates"][part.id]
        assert [row["name"] for row in rows] == [gate.name for gate in part.gates]
        for row, gate in zip(rows, part.gates, strict=True):
            assert (row["value"], row["limit"]) == (gate.value, gate.limit)
            assert (row["direction"], row["unit"]) == (gate.direction, gate.unit)
    (row,) = (row for row in rows if row["name"] == "relative_l2")
    assert row["headroom"] == pytest.approx(row["limit"] / row["value"])
    assert files_below(config.parent / "report") == [
        "junit.xml",
        "report.html",
        "report.json",
        "report.md",
    ]
    rendered = cli("report", found["report"]["json"], "--out", config.parent / "again")
    assert rendered.code == 0
    again = files_below(config.parent / "again")
    assert again == files_below(config.parent / "report")
    for name in again:
        old, new = (config.parent / folder / name for folder in ("report", "again"))
        assert old.read_bytes() == new.read_bytes(), name


def test_a_pass_over_the_whole_matrix_is_kept_beside_the_manifest_until_a_fail(
    cli: Cli, store: Path, nano: Path, whole: Path
) -> None:
    folder = store / "nano" / "v1"
    manifest = (folder / "manifest.json").read_bytes()
    result = verify(cli, store, nano, whole)
    assert f"{folder} counts as verified (verification.json)" in result.out
    found = read_verification(folder)
    assert found is not None and found.verdict == "PASS" and found.matrix.cases == 30
    assert found.report_sha256 == sha256(whole.parent / "report" / "report.json")
    assert (folder / "manifest.json").read_bytes() == manifest
    # Less than the whole leaves it, whatever else it finds a fail takes it back.
    assert verify(cli, store, nano, whole, "--seeds", "7").code == 0
    assert read_verification(folder) == found
    whole.write_text(whole.read_text() + "[gates.transformer.relative_l2]\nlimit = 0.0\n")
    failed = verify(cli, store, nano, whole, "--seeds", "7", "--json")
    assert failed.code == 1
    told = "no longer counts as verified; history.jsonl has this run"
    assert failed.json["standing"] == told
    runs = read_history(store / "nano" / "history.jsonl")
    assert [run.verdict for run in runs] == ["PASS", "PASS", "FAIL"]
    report = read_report(whole.parent / "report" / "report.json")
    assert report.trend is not None and len(report.trend.runs) == 3
    assert "headroom fell in the newest run: relative_l2 of coarse" in report.notes[-1]
    assert "limit of relative_l2 of coarse 0, was 1e-5" in report.notes[-1]
    assert failed.json["artifacts"] == str(folder) and read_verification(folder) is None


def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    cli: Cli, store: Path, nano: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config.parent / "report").write_text("in the way")
    monkeypatch.setattr(verify_jobs, "verify_artifacts", None)  # which would not be callable
    refused(verify(cli, store, nano, config), "report", "cannot be written")


def test_a_report_that_fails_after_all_leaves_the_verdict_told(
    cli: Cli, store: Path, nano: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> str:
        raise InputError("the disk is full")

    monkeypatch.setattr(render, "render_html", full)
    result = verify(cli, store, nano, config)
    assert result.code == 2 and "PASS: " in result.out and "the disk is full" in result.err
    result = verify(cli, store, nano, config, "--json")
    assert result.code == 2 and result.json["verdict"] == "PASS"
    assert result.json["report"] == {}


def test_verify_with_another_checkpoint_is_refused(
    cli: Cli, store: Path, nano: Path, config: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(nano, tmp_path / "other"))
    content = torch.load(nano / "coarse.pth", weights_only=True)
    content["state_dict"]["transformer.norm.weight"][0] += 1e-3
    torch.save(content, other / "coarse.pth")
    refused(verify(cli, store, other, config), "coarse.pth", "was not made from")
    assert not (tmp_path / "report").exists()


def test_verify_without_the_lora_file_of_the_export_is_refused(
    cli: Cli, nano: Path, config: Path, tmp_path: Path
) -> None:
    state = torch.load(nano / "coarse.pth", weights_only=True)["state_dict"]
    torch.save({k: v * 1.5 for k, v in state.items() if ".lora_" in k}, tmp_path / "s.pth")
    lora = ("--lora", tmp_path / "s.pth")  # whose shapes say that it is for coarse
    out = tmp_path / "out"
    made = cli(
        "export", "--checkpoint", nano, "--component", "coarse", "--artifacts", out, *lora
    )
    assert made.code == 0
    twice = (*lora, "--lora", f"coarse={tmp_path / 's.pth'}")
    refused(verify(cli, out, nano, config, *twice), "has one already")
    assert verify(cli, out, nano, config, *lora).code == 0
    refused(verify(cli, out, nano, config), "s.pth")


def test_verify_of_a_component_that_is_not_there_names_those_that_are(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    result = verify(cli, store, nano, config, "--component", "c2f")
    refused(result, "no component 'c2f'", "coarse")


@pytest.mark.parametrize(
    "seeds",
    [
        "",
        "a",
        "1,,2",
        "1,-2",
        "1.5",
        str(1 << 64),
        "5:5",
        "9:2",
        "0:99999999999",
        "-3:4",
        "a:b",
        ":",
    ],
)
def test_seeds_that_are_none_are_refused(
    cli: Cli, store: Path, nano: Path, config: Path, seeds: str
) -> None:
    refused(verify(cli, store, nano, config, "--seeds", seeds), "--seeds")


def test_verify_refuses_artifacts_that_were_changed(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    path = store / "nano" / "v1" / "coarse.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused(verify(cli, store, nano, config), "coarse.onnx", "its content is not what")
    path.unlink()
    refused(verify(cli, store, nano, config), "coarse.onnx", "missing")
    (path.parent / "manifest.json").write_text("{")
    refused(verify(cli, store, nano, config), "manifest.json")
    shutil.rmtree(path.parent)
    refused(verify(cli, store, nano, config), "no artifact version")


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(name="bogus"),
        lambda record: record.update(variant="bogus"),
        lambda record: record.update(dims={}),
        lambda record: record["dims"].update(n_codebooks=7),
        lambda record: record["dims"].update(vocab_size=[1, 2]),
    ],
    ids=["name", "variant", "no-dims", "other-dims", "list-dims"],
)
def test_a_manifest_that_is_at_odds_with_the_checkpoint_is_refused(
    cli: Cli, store: Path, nano: Path, config: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    vouch_for(store / "nano" / "v1", change)
    refused(verify(cli, store, nano, config), "manifest")


def test_a_file_that_is_no_graph_is_refused_though_the_manifest_vouches_for_it(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    (store / "nano" / "v1" / "coarse.onnx").write_bytes(b"no graph at all")
    vouch_for(store / "nano" / "v1", lambda _record: None)
    refused(verify(cli, store, nano, config), "not an ONNX model that can be read")


def test_a_graph_that_cannot_be_opened_is_no_failed_gate(
    cli: Cli, store: Path, nano: Path, config: Path, tmp_path: Path
) -> None:
    """Not even where nobody asks for a matching hash; one that fails to run is."""
    version, other = store / "nano" / "v1", Path(shutil.copytree(store, tmp_path / "other"))
    file = version / "coarse.onnx"
    sound, name = file.read_bytes(), b"transformer.layers.0.norm_1.weight"
    for data in (b"hello", sound[:-9], sound.replace(name, b"\xff" + name[1:])):
        file.write_bytes(data)
        unread = "coarse.onnx: not an ONNX model that can be read"
        refused(verify(cli, store, nano, config, "--unsealed"), unread)
        refused(cli("localise", store, "--checkpoint", nano, "--unsealed"), unread)
        refused(cli("localise", file, "--checkpoint", nano), unread)
        refused(cli("compare", other, store, "--unsealed"), "coarse.onnx: ")
    file.write_bytes(sound)
    model = onnx.load(file)
    table = weights_of(model, "embedding.tables.0")
    short = numpy_helper.to_array(table)[:2]  # of which most codes are not
    table.CopyFrom(numpy_helper.from_array(short, table.name))
    onnx.save(model, file)
    result = verify(cli, store, nano, config, "--unsealed")
    assert result.code == 1 and "the artifact failed to run" in result.out


def test_a_store_of_several_models_asks_which(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    shutil.copytree(store / "nano", store / "other")
    refused(verify(cli, store, nano, config), "several models (nano, other)")
    assert verify(cli, store / "other", nano, config).code == 0


def test_a_gate_that_fails_exits_with_1_and_says_which(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    config.write_text(config.read_text() + "[gates.transformer.relative_l2]\nlimit = 0.0\n")
    result = verify(cli, store, nano, config)
    assert result.code == 1
    assert "relative_l2" in result.out and "FAIL" in result.out
    assert verify(cli, store, nano, config, "--json").json["verdict"] == "FAIL"


def test_seeds_that_failed_are_given_with_the_command_that_runs_them_again(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    config.write_text(config.read_text() + "[gates.transformer.relative_l2]\nlimit = 0.0\n")
    result = verify(cli, store, nano, config, "--seeds", "0:3", "--json")
    (bad, *_) = result.json["bad_seeds"]["coarse"]
    assert result.code == 1 and bad["seed"] == 0 and bad["worst_case"] in bad["replay"]
    stopped = verify(cli, store, nano, config, "--seeds", "0:3", "-x", "--json")
    assert [item["seed"] for item in stopped.json["bad_seeds"]["coarse"]] == [0]
    assert any("stopped at the first failure" in note for note in stopped.json["notes"])


def test_processes_are_for_the_standard_reference_only(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    refused(verify(cli, store, nano, config, "--jobs", "2", "--reference", "golden"), "--jobs")


def test_an_interpreter_goes_with_the_upstream_reference_only(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app,
        ["verify", str(tmp_path), "--checkpoint", str(GOLDEN / "a"), "--upstream-python", "x"],
    )
    assert isinstance(found.exception, InputError)


def test_an_interrupted_hunt_says_where_it_is_and_leaves_what_it_found(
    store: Path, nano: Path, config: Path
) -> None:
    """In a process of its own, through pipes, as in a CI's log."""
    report = config.parent / "report"
    options = ("--config", config, "--report", report, "--seeds", "0:9000", "--json")
    running = process("verify", store, "--checkpoint", nano, *options, "--jobs", "1")
    assert running.stderr is not None
    line = next(line for line in running.stderr if " of 18000" in line)
    assert line.startswith(LINE_STARTS + "coarse, ")
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert err.splitlines()[-1] == (
        f"error: interrupted; the report in {report} has what was found until then"
    )
    told, found = json.loads(out), read_report(report / "report.json")
    assert told["verdict"] == found.verdict == "INTERRUPTED"
    assert found.unfinished == ["coarse"] and 0 < len(found.components[0].cases) < 18000
    assert "it was interrupted" in told["standing"]
    assert read_verification(store / "nano" / "v1") is None


def test_processes_end_with_the_first_one_that_is_killed(
    store: Path, nano: Path, config: Path
) -> None:
    report = config.parent / "report"
    options = ("--config", config, "--report", report, "--seeds", "0:9000", "--jobs", "2")
    running = process("verify", store, "--checkpoint", nano, *options)
    assert running.stderr is not None
    next(line for line in running.stderr if " of 18000" in line and ", 0 of" not in line)
    first = Path("/proc", str(running.pid))
    others = {
        pid for task in first.glob("task/*/children") for pid in task.read_text().split()
    }
    assert len(others) >= 2
    running.kill()
    running.communicate(timeout=60)  # whose pipes the others had, too
    deadline = time.monotonic() + 60
    while any(_is_running(pid) for pid in others):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_running(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of npm are not installed, wherever these tests run."""
    monkeypatch.setattr(InJavaScript, "_packages", lambda _self: None)


@pytest.mark.usefixtures("no_node")
def test_a_few_cases_run_on_the_runtimes_that_were_asked_for(
    cli: Cli, store: Path, nano: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_jobs, "last_verified", lambda *_: (Path("before"), None))
    result = verify(cli, store, nano, config, "--runtimes", "default,off,node", "--json")
    assert result.code == 0 and result.json["verdict"] == "PASS"
    assert list(result.json["gates"]) == ["coarse on default", "coarse on off"]
    assert "skipped: node: " in " ".join(result.json["notes"])
    assert "does not count as verified" in result.json["standing"]
    assert "run: vampnet-onnx verify " in result.json["standing"]
    report = read_report(result.json["report"]["json"])
    assert report.runtimes is not None and report.runtimes.rows == ["coarse"]
    assert report.run is not None and report.run.previous == "before"
    text = verify(cli, store, nano, config, "--runtimes", "default,node").out
    assert re.search(r"^ +default +node *$", text, re.MULTILINE)
    assert re.search(r"^coarse +PASS +skipped *$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["oldst"], "no 'oldst' (did you mean 'oldest'?)"),
        (["off", "--runtime", "openvino"], "leave --provider and --runtime out"),
        (["off", "--jobs", "2"], "leave --jobs out"),
        (["off", "--scheduler", "tcp://x:1"], "leave --scheduler out"),
        (["off", "--quick"], "leave --quick out"),
        (["off", "-x"], "leave --exitfirst out"),
        (["off", "--strict"], "leave --strict out"),
        (["off", "--reference", "golden"], "leave --reference golden out"),
        (["off", "--component", "c2f"], "no component 'c2f' here"),
    ],
    ids=lambda value: value if isinstance(value, str) else "_".join(value),
)
def test_what_says_nothing_to_the_matrix_is_refused(
    cli: Cli, store: Path, nano: Path, config: Path, more: list[str], says: str
) -> None:
    refused(verify(cli, store, nano, config, "--runtimes", *more), says)


@pytest.mark.usefixtures("no_node")
def test_where_none_of_the_runtimes_is_there_nothing_passes(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    result = verify(cli, store, nano, config, "--runtimes", "node")
    assert result.code == 3 and "none of the runtimes is installed" in result.err
