"""Workers that would not compute the same are refused, each difference by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.installs import copied_source
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.models import Checkpoints

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")

from vampnet_onnx.verify.cluster import workers  # noqa: E402
from vampnet_onnx.verify.cluster.needs import Needs, lacking, needs_of  # noqa: E402
from vampnet_onnx.verify.cluster.workers import connected, require_same  # noqa: E402

Start = Callable[..., Any]


@pytest.fixture
def needs(nano: Path, nano_artifacts: Artifacts) -> Needs:
    return needs_of(nano_artifacts, Checkpoints(nano))


@contextmanager
def worker_with(folder: Path) -> Iterator[str]:
    """Start a scheduler and a worker that finds modules and packages of a folder first."""
    quiet = {"dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=0, processes=True, **quiet) as cluster:
        line = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        line += ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--name", "other"]
        running = subprocess.Popen(
            line,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
        try:
            cluster.scheduler_comm  # noqa: B018 it is there
            with distributed.Client(cluster, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=60)
            yield cluster.scheduler_address
        finally:
            running.kill()
            running.wait()


def refusal(address: str, needs: Needs) -> str:
    with (
        connected(address) as client,
        pytest.raises(EnvironmentLacksError) as refused,
    ):
        require_same(client, needs)
    message = str(refused.value)
    assert message.startswith("the worker other at tcp://") and "\n" not in message
    assert message.endswith(", or stop it")
    return message


def test_a_worker_with_other_packages_or_another_source_is_refused(
    needs: Needs, tmp_path: Path
) -> None:
    found = tmp_path / "numpy-9.9.9.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
    source = copied_source(tmp_path / "source")
    ours = tmp_path / "vampnet_onnx"
    shutil.move(source / "face", ours)
    for folder in ("checkpoints", "commands", "configs", "export", "models", "pipeline"):
        shutil.move(source / folder, ours / folder)
    for folder in ("reports", "verify"):
        shutil.move(source / folder, ours / folder)
    tables = ours / "configs" / "gates.toml"
    tables.write_text(tables.read_text("utf-8") + "\n# looser\n", "utf-8")
    with worker_with(tmp_path) as address:
        message = refusal(address, needs)
    assert f"numpy is 9.9.9, not {needs.versions['numpy']}" in message
    assert "the source of vampnet-onnx is " in message
    assert "start it in an environment with the same packages" in message


def test_a_worker_that_sees_other_files_is_refused_by_their_names(
    nano: Path, nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    """The worker sees what is there when it looks, whoever shares a folder with it."""
    folder = Path(shutil.copytree(nano_artifacts.folder, tmp_path / "v1"))
    checkpoint = Path(shutil.copytree(nano, tmp_path / "nano"))
    needs = needs_of(open_artifacts(folder), Checkpoints(checkpoint))
    assert not lacking(needs)
    graph, weights = folder / "coarse.onnx", checkpoint / "c2f.pth"
    graph.write_bytes(graph.read_bytes() + b"\0")
    weights.unlink()
    with worker_with(tmp_path) as address:
        message = refusal(address, needs)
    assert f"{graph} has sha256 " in message
    assert f"{weights} cannot be read there (No such file or directory)" in message
    assert "let it see the same files at the same paths" in message


def test_a_worker_without_our_package_is_refused(needs: Needs, tmp_path: Path) -> None:
    (tmp_path / "vampnet_onnx").mkdir()
    for name in ("__init__", "verify"):
        (tmp_path / "vampnet_onnx" / f"{name}.py").write_text("")
    with worker_with(tmp_path) as address:
        assert "its vampnet-onnx is another (ModuleNotFound" in refusal(address, needs)


def test_what_is_no_scheduler_or_has_no_workers_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_CONNECT_S", 2)
    with (
        pytest.raises(InputError, match="--scheduler nonsense://x: no address"),
        connected("nonsense://x"),
    ):
        pass
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        with pytest.raises(
            EnvironmentLacksError, match=r"has no workers; start some with: dask"
        ):
            connected(address).__enter__()
    with pytest.raises(EnvironmentLacksError, match=r"no scheduler answers at tcp://127"):
        connected("tcp://127.0.0.1:9").__enter__()
