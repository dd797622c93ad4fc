"""Every command of README.md and docs/ runs as it stands, from top to bottom.

In a scratch folder, with small sets and a small matrix in place of the ones that take minutes,
and a hub on loopback in place of the real one.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from tests.support.command_line import ROOT, Cli, files_below
from tests.support.documents import Step, steps, table_of_commands
from tests.support.hub_server import Hub, own_world, serve
from tests.support.sets import EXPORTED_RATES, NANO
from vampnet_onnx import program
from vampnet_onnx.configs import config as config_module
from vampnet_onnx.configs import verification as verification_module
from vampnet_onnx.configs.extras import is_installed
from vampnet_onnx.configs.hub.published import published
from vampnet_onnx.models.checkpoints.random_checkpoint import (
    write_random_file,
    write_random_tracker,
)

README = ROOT / "README.md"
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))

# Beginning of a command: why it is not run here.
LEFT_OUT = {
    "python3 -m venv": "sets up an environment; test_install does",
    ".venv/bin/pip install": "installs from a package registry",
    ".venv/bin/nox -s tests": "is the test command itself",
    ". .venv/bin/activate": "the environment is this one",
    "python -m training": "trains for hours",
    "nox -s upstream": "installs the published packages from their repositories",
    "dask scheduler": "runs until it is stopped",
    "dask worker": "likewise; tests of verify/cluster start some",
    "vampnet-onnx verify artifacts/mine --checkpoint checkpoints/mine --seeds 0:1": (
        "needs a cluster; tests of verify/cluster have one"
    ),
    "vampnet-onnx release-all sweep --scheduler": "likewise",
    "vampnet-onnx self-test --into": "takes minutes as a whole; its test plants a few defects",
}
UPSTREAM = "--upstream-python build/upstream/bin/python"  # built by what is left out
SMALL = {
    **NANO,
    "codec": {**NANO["codec"], "encoder_rates": [80], "decoder_rates": [80]},
}
# Two layers, for the one that the README breaks, and the next.
TINY = {**SMALL, "coarse": {**NANO["coarse"], "n_layers": 2}}
TWO = ("coarse", "c2f")
MATRIX = {"seeds": [0], "frames": [13], "batches": [2], "threads": 1}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random set in place of the demo set, with LoRA files of the names that one has."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    for seed, (name, kwargs) in enumerate(SMALL.items()):
        write_random_file(folder / f"{name}.pth", kwargs, seed=seed)
    write_random_tracker(folder / "wavebeat.pth", seed=4)
    (folder / "lora").mkdir()
    for name in TWO:
        state = torch.load(folder / f"{name}.pth", weights_only=True)["state_dict"]
        lora = {key: value * 1.5 for key, value in state.items() if ".lora_" in key}
        torch.save(lora, folder / "lora" / f"music-box-{name}.pth")
    return folder


@pytest.fixture
def place(
    demo: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A folder like the root of a fresh clone, a small default matrix and a hub at hand."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(demo, folder / "checkpoints" / "demo")
    (folder / "tests").mkdir()
    (folder / "tests" / "golden").symlink_to(ROOT / "tests" / "golden")
    shipped = config_module.shipped

    def small(name: str) -> dict[str, Any]:
        values = shipped(name)
        if name == "defaults.toml":
            values["verify"] |= MATRIX
            values["export"] |= {"rates": list(EXPORTED_RATES)}
        if name == "sizes.toml":
            values["tiny"] = TINY
        if name == "demo.toml":
            values = {"model": "demo", "checkpoint": {"path": str(demo)}}
        return values

    monkeypatch.setattr(config_module, "shipped", small)
    monkeypatch.setattr(verification_module, "shipped", small)
    monkeypatch.setattr("vampnet_onnx.verify.bench.components.LENGTHS", (0.01,))
    monkeypatch.setattr("vampnet_onnx.verify.bench.components.BATCHES", ())
    monkeypatch.chdir(folder)
    pair = ("loras/opera/coarse.pth", "loras/opera/c2f.pth")
    files = {
        name: name.encode() * 99 for name in ("codec.pth", "coarse.pth", "c2f.pth", *pair)
    }
    before = files_of_the_root()
    alone = own_world(monkeypatch, folder / "hf-home")
    with alone, serve(Hub(published().repo, files)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield folder
    assert not untracked(folder), (
        "a user's clone would show what the documents' commands wrote"
    )
    assert files_of_the_root() == before, "something was left behind in the repository"


def untracked(clone: Path) -> list[str]:
    """Return what git would show of a clone in which commands ran."""
    shutil.copy(ROOT / ".gitignore", clone)
    listed = ("git", "ls-files", "--others", "--exclude-standard", "--directory")
    subprocess.run(["git", "init", "-q"], cwd=clone, check=True)
    found = subprocess.run(listed, cwd=clone, check=True, capture_output=True, text=True)
    own = (".gitignore", "checkpoints/", "checkpoints/demo/", "hf-home/", "tests/")
    return [name for name in found.stdout.splitlines() if name not in own]


def files_of_the_root() -> set[str]:
    kept = (".git", ".pytest_cache", ".hypothesis", ".nox", ".venv")
    return {path.name for path in ROOT.iterdir() if path.name not in kept}


def is_left_out(step: Step) -> bool:
    text = step.text
    absent = "openvino" in text and not is_installed("openvino")
    return text.startswith(tuple(LEFT_OUT)) or UPSTREAM in text or absent


def as_expected(line: str) -> re.Pattern[str]:
    """Return what finds a line of a document: an ellipsis in it is whatever stands there."""
    parts = (re.escape(" ".join(part.split())) for part in line.split("…"))
    return re.compile(".*".join(parts))


def run(step: Step, cli: Cli) -> None:
    if step.kind == "python":
        exec(compile(step.text, f"line {step.line}", "exec"), {"__name__": "__main__"})
    elif step.text.startswith(("vampnet-onnx ", ".venv/bin/vampnet-onnx ")):
        result = cli(*shlex.split(step.text)[1:])
        assert result.code == step.code, (step, result)
        told = [" ".join(line.split()) for line in (result.out + result.err).splitlines()]
        for line in step.expected:
            assert any(map(as_expected(line).search, told)), (line, step, result)
    else:
        done = subprocess.run(["bash", "-ec", step.text], timeout=60, check=False)
        assert done.returncode == step.code, step


def test_the_readme_runs_from_top_to_bottom(cli: Cli, place: Path) -> None:
    for step in steps(README):
        if not is_left_out(step):
            run(step, cli)
    left = files_below(place)
    for name in (
        *("out.wav", "out.flac", "out.npz", "codes.npz", "back.wav", "variation.wav"),
        *("depth.png", "pictures/codes.png", "checkpoints/opera/c2f.pth"),
        *("report/report.html", "report/broken/report.md", "published/README.md"),
        *("artifacts/demo/v1/manifest.json", "artifacts/mine/v2/manifest.json"),
    ):
        assert name in left


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_runs_from_top_to_bottom(cli: Cli, place: Path, document: Path) -> None:
    for step in steps(document):
        if not is_left_out(step):
            run(step, cli)


def test_documents_leave_alone_what_the_readme_works_on() -> None:
    """So they may be followed in any order, and `publish` still finds what it takes."""
    for document in DOCUMENTS:
        for step in steps(document):
            words = step.text.split()
            if is_left_out(step) or words[0] != "vampnet-onnx":
                continue
            options = dict(pairwise(words))
            store = options.get("--artifacts", "artifacts")
            if words[1] == "export" and options["--checkpoint"] == "checkpoints/demo":
                assert (store, options.get("--model", "demo")) != ("artifacts", "demo"), step
            if words[1] == "verify":
                assert "--report" in options, step
            for option in ("--keep", "--bundle"):
                top = options.get(option, "").partition("/")[0]
                assert top not in ("broken", "bundle"), step


def test_what_is_left_out_is_there_to_be_left_out() -> None:
    written = [step.text for document in (README, *DOCUMENTS) for step in steps(document)]
    for beginning in LEFT_OUT:
        assert any(text.startswith(beginning) for text in written), beginning
    assert any(UPSTREAM in text for text in written)


def registered() -> dict[str, Any]:
    """Every command by its whole name, such as ``golden check``."""
    found = {}
    for name, command in vars(typer.main.get_command(program.app))["commands"].items():
        inner = vars(command).get("commands")
        found |= {f"{name} {n}": c for n, c in inner.items()} if inner else {name: command}
    return found


def test_the_table_names_every_command() -> None:
    named = [command.removeprefix("vampnet-onnx ") for _, command in table_of_commands(README)]
    assert len(registered()) > 15
    for name in registered():
        assert any(command.startswith(name) for command in named), name


def test_what_the_table_says_is_understood() -> None:
    """Each command is parsed as it stands."""
    for wanted, written in table_of_commands(README):
        program_, *arguments = shlex.split(written)
        if program_ != "vampnet-onnx":
            continue
        (name,) = [n for n in registered() if arguments[: len(n.split())] == n.split()]
        rest = arguments[len(name.split()) :]
        with registered()[name].make_context(name, rest):
            assert wanted
