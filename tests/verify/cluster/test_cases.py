"""Verification on the workers of a cluster: what one process finds, whoever dies meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Cli, refused
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.reports import Report, read_report
from vampnet_onnx.verify.verification import verify_artifacts

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")

from vampnet_onnx.verify.cluster import cases as on_workers  # noqa: E402 needs it
from vampnet_onnx.verify.cluster.cases import on_cluster  # noqa: E402
from vampnet_onnx.verify.cluster.needs import needs_of  # noqa: E402
from vampnet_onnx.verify.cluster.workers import connected, require_same  # noqa: E402

PARTS = ("codec_encoder", "coarse")
SEEDS = list(range(8))


@pytest.fixture
def verified(nano: Path, nano_artifacts: Artifacts, cluster: Any) -> Callable[..., Report]:
    """Verify two components, on the cluster or not, and tell what was found but for times."""
    checkpoints = Checkpoints(nano)

    def run(
        there: bool, progress: Callable[..., object] = lambda *_: None, **options: Any
    ) -> Report:
        common: dict[str, Any] = {
            "matrix": matrix(seeds=SEEDS, frames=[1, 13]),
            "gates": load_gates(),
            "toolchain": {},
            "only": PARTS,
            "quick": True,
            "progress": progress,
            **options,
        }
        if not there:
            return verify_artifacts(nano_artifacts, checkpoints, **common)
        needs = needs_of(nano_artifacts, checkpoints)
        with connected(cluster.scheduler_address) as client:
            require_same(client, needs)
            elsewhere = on_cluster(client, needs)
            return verify_artifacts(nano_artifacts, checkpoints, elsewhere=elsewhere, **common)

    return run


def untimed(report: Report) -> Any:
    """Return all that a report says but for the seconds."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items() if k != "seconds"}
        return [without(v) for v in value] if isinstance(value, list) else value

    return without(report.model_dump(mode="json"))


def pids(cluster: Any) -> list[int]:
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        return list(client.run(os.getpid).values())


def test_a_cluster_finds_what_one_process_finds_and_a_killed_worker_loses_nothing(
    verified: Callable[..., Report], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = untimed(verified(False))
    assert [part["ran"] for part in alone["components"]] == [64, 32]
    assert untimed(verified(True)) == alone
    monkeypatch.setattr(on_workers, "TASK_S", 0.0)  # a case a task: some are lost for sure
    before, told = pids(cluster), list[tuple[str, int, int]]()

    def kill(name: str, done: int, total: int) -> None:
        told.append((name, done, total))
        if (name, done) == ("coarse", 3):
            os.kill(before[0], signal.SIGKILL)

    assert untimed(verified(True, kill)) == alone
    assert ("coarse", 32, 32) in told and before[0] not in pids(cluster)


def test_an_interrupt_keeps_what_was_found_and_leaves_nothing_at_work(
    verified: Callable[..., Report], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_workers, "TASK_S", 0.0)

    def interrupt(name: str, done: int, _total: int) -> None:
        if (name, done) == ("coarse", 5):
            raise Interrupted

    report = verified(True, interrupt)
    assert report.verdict == "INTERRUPTED" and report.unfinished == ["coarse"]
    assert [part.ran for part in report.components] == [64, 5]
    assert not cluster.scheduler.tasks
    assert untimed(verified(True)) == untimed(verified(False))


def test_the_command_takes_a_scheduler_and_paths_of_its_own_working_folder(
    run: Cli, store: Path, nano: Path, config: Path, cluster: Any, tmp_path: Path
) -> None:
    where = ("store", "--checkpoint", os.path.relpath(nano), "--config", config)
    there = ("--scheduler", cluster.scheduler_address)
    reports = []
    for name, options in (("here", ()), ("there", there)):
        found = run("verify", *where, "--report", name, "--quick", *options)
        assert found.code == 0, found.err
        reports.append(untimed(read_report(tmp_path / name / "report.json")))
    for report in reports:
        report.pop("run")
    assert reports[0] == reports[1]
    refused(run("verify", *where, *there, "--jobs", 2), "--scheduler goes with", "--jobs")
