"""The command line as a person meets it: exit codes, one message, nothing half-written."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import typer

from tests.support.checkpoint_files import with_kwargs
from vampnet_onnx import __main__ as vampnet_onnx

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
SMALL_MATRIX = "[verify]\nseeds = [0]\nframes = [1, 13]\nbatches = [1]\nthreads = 1\n"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON, which it must be from first to last byte."""
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["vampnet-onnx", *(str(a) for a in arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            vampnet_onnx.main()
            sys.exit(0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        code = exit_.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    hook = sys.unraisablehook
    yield run
    sys.unraisablehook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


def refused(result: Result, *words: str) -> None:
    """Check for exit code 2 and one message, on standard error alone."""
    assert result.code == 2, result
    assert result.out == ""
    message = [line for line in result.err.splitlines() if line.strip()]
    assert len(message) == 1 and message[0].startswith("error: "), result.err
    for word in words:
        assert word in message[0], message[0]


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vampnet_onnx", *(str(a) for a in arguments)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        **options,
    )


@pytest.fixture(scope="module")
def exported_store(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the nano set's coarse model; tests copy what they change."""
    store = tmp_path_factory.mktemp("cli") / "store"
    running = process("export", "--checkpoint", nano, "--out", store, "--component", "coarse")
    _, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    return store


@pytest.fixture
def store(exported_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_store, tmp_path / "store"))


@pytest.fixture
def config(nano: Path, tmp_path: Path) -> Path:
    path = tmp_path / "nano.toml"
    path.write_text(
        f'model = "nano"\n[checkpoint]\npath = "{nano}"\n[export]\ncomponents = ["coarse"]\n'
        + SMALL_MATRIX
    )
    return path


def files_below(folder: Path) -> list[str]:
    found = folder.rglob("*") if folder.exists() else ()
    return sorted(p.relative_to(folder).as_posix() for p in found if p.is_file())


# Help.


def commands() -> list[tuple[str, click.Command]]:
    group = typer.main.get_command(vampnet_onnx.app)
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    return sorted(group.commands.items())


@pytest.mark.parametrize("name, command", commands(), ids=lambda v: v if v is str else "")
def test_every_command_argument_and_option_has_help(name: str, command: Any) -> None:
    assert command.help and len(command.help.splitlines()[0]) > 15, name
    for parameter in command.params:
        if parameter.name != "help":
            assert getattr(parameter, "help", None), f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_of_every_command_prints(cli: Cli, name: str) -> None:
    result = cli(name, "--help")
    assert result.code == 0 and name in result.out


def test_help_lists_every_command(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    assert all(name in result.out for name, _ in commands())


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("export", "--nonsense"),
        ("verify",),
        ("report",),
        ("export", "--opset", "twenty"),
        ("export", "--version", "0"),
        ("make-checkpoint",),
        ("make-checkpoint", "x", "--seed", "-1"),
    ],
)
def test_wrong_usage_exits_with_2(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli(*arguments).code == 2


# Input that is refused.


def test_a_missing_checkpoint_folder_is_refused(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(cli("export", "--checkpoint", tmp_path / "none", "--out", out), "no such folder")
    refused(cli("export", "--out", out), "give --checkpoint DIR")
    assert files_below(out) == []


@pytest.mark.parametrize(
    "options, words",
    [
        (("--component", "decoder"), "decoder"),
        (("--input", "text"), "text"),
        (("--opset", "17"), "opset"),
        (("--opset", "24"), "opset"),
        (("--model", "a/b"), "model"),
        (("--lora", "codec=x"), "write FILE, coarse=FILE"),
        (("--lora", "x"), "x: no such file"),
        (("--lora", "coarse=none.pth"), "none.pth"),
        (("--config", "none.toml"), "no such configuration file"),
    ],
)
def test_an_option_with_an_impossible_value_is_refused(
    cli: Cli, nano: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    out = tmp_path / "out"
    refused(cli("export", "--checkpoint", nano, "--out", out, *options), words)
    assert files_below(out) == []


def test_a_bad_checkpoint_leaves_nothing_behind(cli: Cli, nano: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(nano, tmp_path / "set"))
    (folder / "c2f.pth").write_bytes((nano / "c2f.pth").read_bytes()[:9000])
    out = tmp_path / "out"
    refused(cli("export", "--checkpoint", folder, "--out", out), "c2f.pth", "truncated")
    with_kwargs(nano, "c2f", folder / "c2f.pth", n_heads=7)
    refused(cli("export", "--checkpoint", folder, "--out", out), "n_heads = 7")
    assert files_below(tmp_path / "out") == []
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".staging")]


def test_control_characters_of_a_file_never_reach_the_terminal(
    cli: Cli, nano: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(nano, tmp_path / "set"))
    content = torch.load(folder / "codec.pth", weights_only=True)
    content["state_dict"]["a\nerror: [bold]\x1b[31mred\x1b]0;title\x07[/bold]"] = torch.ones(1)
    torch.save(content, folder / "codec.pth")
    result = cli("export", "--checkpoint", folder, "--out", tmp_path / "out")
    refused(result, "unexpected keys: 1", "[bold]")
    assert "\x1b" not in result.err and "\x07" not in result.err


@pytest.mark.parametrize("command", ["export", "release", "verify", "make-checkpoint"])
def test_a_place_below_a_file_is_refused(
    cli: Cli, nano: Path, store: Path, config: Path, tmp_path: Path, command: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    place = tmp_path / "file" / "x"
    arguments: dict[str, tuple[object, ...]] = {
        "export": ("--checkpoint", nano, "--component", "coarse", "--out", place),
        "release": (config, "--artifacts", place, "--report", tmp_path / "report"),
        "verify": (store, "--config", config, "--report", place),
        "make-checkpoint": (place,),
    }
    refused(cli(command, *arguments[command]), "cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize(
    "text, words",
    [
        ("modle = 'x'", "did you mean 'model'?"),
        ("model =", "not a TOML file"),
        ("model = 'x'\n[checkpoint]\npath = 'none'\n", "no such folder"),
        ("model = 'x'\n[checkpoint]\nlike = 'huge'\n", "no size 'huge'"),
        ("model = 'x'\n[checkpoint]\nlike = 'tiny'\n[gates.coarse.x]\nlimit = 1\n", "no such"),
    ],
)
def test_a_bad_configuration_is_refused(
    cli: Cli, tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    out = tmp_path / "out"
    refused(cli("release", path, "--artifacts", out, "--report", tmp_path / "report"), words)
    assert files_below(out) == [] and not (tmp_path / "report").exists()


def test_make_checkpoint_refuses_what_it_cannot_do(cli: Cli, tmp_path: Path) -> None:
    refused(cli("make-checkpoint", tmp_path / "a", "--like", "huge"), "tiny", "released")
    assert cli("make-checkpoint", tmp_path / "b").code == 0
    refused(cli("make-checkpoint", tmp_path / "b"), "exists already")
    assert files_below(tmp_path / "b") == ["c2f.pth", "coarse.pth", "codec.pth"]


def test_report_refuses_what_is_no_report(cli: Cli, tmp_path: Path) -> None:
    refused(cli("report", tmp_path / "none.json"), "cannot be read")
    for data in (b"", b"{}", b"\xff", b"[1]"):
        (tmp_path / "bad.json").write_bytes(data)
        refused(cli("report", tmp_path / "bad.json"), "not a report")
    assert files_below(tmp_path) == ["bad.json"]


# Export.


def test_export_gives_json_alone_on_standard_output(
    cli: Cli, nano: Path, exported_store: Path, store: Path
) -> None:
    again = cli(
        "export", "--checkpoint", nano, "--out", store, "--component", "coarse", "--json"
    )
    assert again.code == 0
    found = again.json
    assert found["new"] is False and found["artifacts"] == str(store / "nano" / "v1")
    assert set(found["files"]) == {"coarse"} and Path(found["files"]["coarse"]).is_file()
    assert found["seconds"] > 0 and found["peak_memory_bytes"] > 1e7
    assert files_below(store) == files_below(exported_store)


def test_the_name_of_the_model_is_the_folders_or_the_one_given(
    cli: Cli, nano: Path, config: Path, tmp_path: Path
) -> None:
    base = ("export", "--checkpoint", nano, "--component", "coarse", "--out", tmp_path / "o")
    assert cli(*base, "--model", "mine").code == 0
    assert (tmp_path / "o" / "mine" / "v1" / "coarse.onnx").is_file()
    assert cli(*base, "--model", "yours", "--config", config).code == 0
    assert (tmp_path / "o" / "yours" / "v1" / "coarse.onnx").is_file()


def test_a_version_that_exists_with_other_content_is_refused(
    cli: Cli, nano: Path, store: Path
) -> None:
    before = files_below(store)
    result = cli(
        "export",
        "--checkpoint",
        nano,
        "--out",
        store,
        "--component",
        "coarse",
        "--opset",
        "21",
        "--version",
        "1",
    )
    refused(result, "v1: exists with other content")
    assert files_below(store) == before


# Verify.


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
    assert files_below(config.parent / "report") == [
        "junit.xml",
        "report.html",
        "report.json",
        "report.md",
    ]
    rendered = cli("report", found["report"]["json"], "--out", config.parent / "again")
    assert rendered.code == 0
    for name in files_below(config.parent / "again"):
        old, new = (config.parent / folder / name for folder in ("report", "again"))
        assert old.read_bytes() == new.read_bytes(), name


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
    made = cli("export", "--checkpoint", nano, "--component", "coarse", "--out", out, *lora)
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


def vouch_for(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest and make it vouch for the files that are there."""
    from vampnet_onnx.configs.files import sha256

    path = folder / "manifest.json"
    values = json.loads(path.read_text("utf-8"))
    change(values["components"][0])
    file = folder / values["components"][0]["file"]["name"]
    values["components"][0]["file"] |= {"sha256": sha256(file), "size": file.stat().st_size}
    path.write_text(json.dumps(values), "utf-8")


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


def test_a_file_onnx_runtime_cannot_load_is_refused(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    (store / "nano" / "v1" / "coarse.onnx").write_bytes(b"no graph at all")
    vouch_for(store / "nano" / "v1", lambda _record: None)
    refused(verify(cli, store, nano, config), "ONNX Runtime cannot load it")


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
    assert result.code == 1 and bad["replay"].endswith("--component coarse --seeds 0")
    stopped = verify(cli, store, nano, config, "--seeds", "0:3", "-x", "--json")
    assert [item["seed"] for item in stopped.json["bad_seeds"]["coarse"]] == [0]
    assert any("stopped at the first failure" in note for note in stopped.json["notes"])


def test_processes_are_for_the_standard_reference_only(
    cli: Cli, store: Path, nano: Path, config: Path
) -> None:
    refused(verify(cli, store, nano, config, "--jobs", "2", "--reference", "golden"), "--jobs")


# Localise, compare.


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
    assert result.code == 0 and result.json["culprits"] == []
    assert result.json["findings"] and result.json["unsealed"] == []


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


# Release.


def test_a_release_publishes_verified_artifacts_once(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    first = cli(*arguments, "--json")
    assert first.code == 0 and first.json["published"] and first.json["new"]
    assert "RANDOM WEIGHTS" in first.json["verdict_line"]
    manifest = json.loads((tmp_path / "a/nano/v1/manifest.json").read_text("utf-8"))
    assert manifest["gates"] and manifest["random_weights"] is True
    again = cli(*arguments)
    assert again.code == 0 and "unchanged, already published" in again.out
    assert sorted(p.name for p in (tmp_path / "a/nano").iterdir()) == ["v1"]


def test_a_release_that_fails_a_gate_is_not_published(
    cli: Cli, config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text() + "[gates.transformer.relative_l2]\nlimit = 0.0\n")
    arguments = ("release", config, "--artifacts", tmp_path / "a", "--report", tmp_path / "r")
    for _ in range(2):  # the second replaces what the first left for inspection
        result = cli(*arguments, "--json")
        assert result.code == 1
        assert result.json["verdict"] == "FAIL" and result.json["published"] is False
    assert sorted(p.name for p in (tmp_path / "a/nano").iterdir()) == ["rejected"]
    assert (tmp_path / "r" / "report.html").is_file()


# Environment.


def test_a_missing_package_exits_with_3_and_names_the_remedy(
    cli: Cli, nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxsim" else found(name)
    )
    result = cli("export", "--checkpoint", nano, "--out", tmp_path / "out")
    assert result.code == 3 and "onnxsim" in result.err and "pip install" in result.err
    examined = cli("doctor", "--json")
    assert examined.code == 3
    assert {f["what"]: f["ok"] for f in examined.json}["onnxsim"] is False


def test_doctor_says_what_is_there(cli: Cli) -> None:
    assert cli("doctor").code == 0
    found = {finding["what"]: finding for finding in cli("doctor", "--json").json}
    assert found["torch"]["found"] == torch.__version__.partition(" ")[0]
    assert {"python", "onnx", "onnxruntime", "cores", "disk here"} <= set(found)


# Interrupts and full disks, in processes of their own.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_leaves_nothing_and_exits_with_130(
    nano: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    running = process("export", "--checkpoint", nano, "--out", out)
    deadline = time.monotonic() + 120
    while not list(out.glob("nano/.staging-*/*.onnx")):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert stdout == "" and "interrupted; nothing was left half-written" in stderr
    assert "Traceback" not in stderr
    assert list((out / "nano").iterdir()) == []


class _InterruptedWhileFinalised:
    """Its finaliser is interrupted, and Python drops what a finaliser raises."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)


def _interrupted_in_a_finaliser() -> None:
    _InterruptedWhileFinalised()


def _interrupted_in_a_library_that_catches_everything() -> None:
    with contextlib.suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


@pytest.mark.parametrize(
    "drop", [_interrupted_in_a_finaliser, _interrupted_in_a_library_that_catches_everything]
)
def test_an_interrupt_that_is_dropped_is_not_lost(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, drop: Callable[[], None]
) -> None:
    def app() -> None:
        drop()
        time.sleep(20)

    monkeypatch.setattr(vampnet_onnx, "app", app)
    started = time.monotonic()
    result = cli()
    assert result.code == 130 and "interrupted" in result.err
    assert time.monotonic() - started < 10


def test_an_interrupt_lets_what_cleans_up_finish(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = []

    @contextlib.contextmanager
    def slowly_cleaned() -> Iterator[None]:
        try:
            yield
        finally:
            time.sleep(0.5)
            cleaned.append(True)

    def app() -> None:
        with slowly_cleaned():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(20)

    monkeypatch.setattr(vampnet_onnx, "app", app)
    assert cli().code == 130 and cleaned == [True]


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))


@pytest.mark.parametrize("command", ["make-checkpoint", "export", "export-external"])
def test_a_file_that_cannot_grow_is_one_message_and_leaves_nothing(
    nano: Path, tmp_path: Path, command: str
) -> None:
    out = tmp_path / "out"
    arguments: tuple[object, ...] = ("make-checkpoint", out)
    if command != "make-checkpoint":
        arguments = ("export", "--checkpoint", nano, "--component", "coarse", "--out", out)
    if command == "export-external":
        arguments += ("--external-data",)
    running = process(*arguments, preexec_fn=_small_files_only)
    _, stderr = running.communicate(timeout=120)
    assert running.returncode == 2, stderr
    assert "too large" in stderr and "Traceback" not in stderr
    assert files_below(out) == []
