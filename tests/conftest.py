"""Fixtures shared by the tests: checkpoints, their artifacts, and the command line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.command_line import Cli, Result, process
from tests.support.exports import export_to
from tests.support.graphs import GraphsOfThisRun
from tests.support.once import made_once
from tests.support.sets import EXPORTED_RATES, GOLDEN, NANO, NETWORKS, GoldenSet
from vampnet_onnx import __main__ as vampnet_onnx
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.cache import FOLDER_VARIABLE
from vampnet_onnx.export.graph_cache import GraphCache
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.verify.causes import fresh

torch.set_num_threads(1)  # two workers share two cores


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Take back what an earlier test set."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def graph_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep graphs in a folder of this run, whoever exports; never in the user's own.

    They are all made in this run, so an audit may use them, too.
    """
    folder = made_once(tmp_path_factory, "graphs", Path.mkdir)
    os.environ[FOLDER_VARIABLE] = str(folder)
    fresh._MADE = GraphsOfThisRun(GraphCache(folder))


@pytest.fixture(scope="session", params=["a", "b"])
def golden(request: pytest.FixtureRequest) -> GoldenSet:
    return GoldenSet(GOLDEN / request.param)


@pytest.fixture(scope="session")
def golden_a() -> GoldenSet:
    return GoldenSet(GOLDEN / "a")


@pytest.fixture(scope="session")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the nano checkpoints; shared, so tests copy what they change."""
    folder = tmp_path_factory.mktemp("nano") / "nano"
    for seed, (name, kwargs) in enumerate(NANO.items()):
        write_random_file(folder / f"{name}.pth", kwargs, seed=seed)
    return folder


@pytest.fixture(scope="session")
def models(nano: Path) -> ModelSet:
    """The nano models; what a test plants must not reach them."""
    return open_models(nano)


@pytest.fixture(scope="session")
def nano_artifacts(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Every network of the nano set, exported once; tests copy what they change."""
    folder = made_once(
        tmp_path_factory,
        "nano-artifacts",
        lambda folder: export_to(folder / "v1", nano, components=NETWORKS),
    )
    found = open_artifacts(folder / "v1")
    ids = [record.id for record in found.manifest.components]
    assert ids == [
        "codec_encoder",
        "codec_decoder",
        "coarse",
        "coarse.latents",
        "c2f",
        "c2f.latents",
    ]
    return found


@pytest.fixture(scope="session")
def generator_artifacts(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """What codes to codes takes of the nano set, generators with it; tests copy it."""
    parts = ("coarse", "c2f", "mask_generator", "sampler")
    options = {"components": parts, "inputs": ("codes",), "generator": True}
    folder = made_once(
        tmp_path_factory,
        "nano-generators",
        lambda new: export_to(new / "v1", nano, **options),
    )
    return open_artifacts(folder / "v1")


@pytest.fixture(scope="session")
def golden_artifacts(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Every component of a golden set, exported once; tests copy what they change."""
    return _exported(golden.folder, tmp_path_factory)


@pytest.fixture(scope="session")
def exported(golden_artifacts: Artifacts) -> Path:
    """Folder of a golden set's artifacts."""
    return golden_artifacts.folder


@pytest.fixture(scope="session")
def exported_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _exported(GOLDEN / "a", tmp_path_factory).folder


@pytest.fixture(scope="session")
def forms_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of golden set a in three forms, with what audio to audio needs."""
    options = {"model": "golden-a", "inputs": ("codes",), "rates": ()}
    options |= {"variants": ("fp32", "int8", "fp16")}
    folder = made_once(
        tmp_path_factory,
        "golden-a-forms",
        lambda new: export_to(new / "v1", GOLDEN / "a", **options),
    )
    return folder / "v1"


@pytest.fixture(scope="session")
def pipeline_a(exported_a: Path) -> VampPipeline:
    return VampPipeline.open(exported_a)


def _exported(checkpoint: Path, factory: pytest.TempPathFactory) -> Artifacts:
    """Export a golden set once; the entry by latents of set a only."""
    name = f"golden-{checkpoint.name}"
    options = {
        "model": name,
        "inputs": ("codes", "latents") if checkpoint.name == "a" else ("codes",),
        "rates": EXPORTED_RATES,
    }
    folder = made_once(factory, name, lambda new: export_to(new / "v1", checkpoint, **options))
    return open_artifacts(folder / "v1")


# The command line.

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """The command line as a function of its arguments, in this process."""
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
        for file in re.findall(r"is in (\S+vampnet-onnx-fault-\S+\.txt)", captured.err):
            sys.stdout.write(Path(file).read_text("utf-8"))  # pytest shows it of a failed test
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    hook = sys.unraisablehook
    yield run
    sys.unraisablehook = hook
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def run(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return cli


@pytest.fixture(scope="session")
def exported_store(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the nano set's coarse model; tests copy what they change."""

    def export(store: Path) -> None:
        running = process(
            "export", "--checkpoint", nano, "--artifacts", store, "--component", "coarse"
        )
        _, err = running.communicate(timeout=300)
        assert running.returncode == 0, err

    return made_once(tmp_path_factory, "nano-store", export)


@pytest.fixture
def store(exported_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_store, tmp_path / "store"))


@pytest.fixture
def config(nano: Path, tmp_path: Path) -> Path:
    """A configuration of the nano set's coarse model with a small matrix."""
    path = tmp_path / "nano.toml"
    path.write_text(
        f'model = "nano"\n[checkpoint]\npath = "{nano}"\n[export]\ncomponents = ["coarse"]\n'
        "[verify]\nseeds = [0]\nframes = [1, 13]\nbatches = [1]\nthreads = 1\n"
    )
    return path


@pytest.fixture
def whole(config: Path) -> Path:
    """The same with the default matrix."""
    config.write_text(config.read_text().partition("[verify]")[0] + "[verify]\nthreads = 1\n")
    return config
