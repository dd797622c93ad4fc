"""Long tasks: one that nobody waits for ends, one that fails is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vampnet_onnx.configs.errors import EnvironmentLacksError

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")

from vampnet_onnx.verify.cluster.needs import Needs, versions  # noqa: E402 needs it
from vampnet_onnx.verify.cluster.tasks import run_tasks  # noqa: E402
from vampnet_onnx.verify.cluster.workers import connected  # noqa: E402


def until_stopped(file: Path, worker: str, stopped: Callable[[], bool]) -> str:
    while not stopped():
        time.sleep(0.05)
    file.write_text(worker)
    return worker


def at_once(worker: str, _stopped: Callable[[], bool]) -> str:
    return worker


def too_late(_worker: str, _stopped: Callable[[], bool]) -> str:
    raise TimeoutError("of its own")


def test_what_a_task_raises_is_told_as_it_is(cluster: Any) -> None:
    with (
        connected(cluster.scheduler_address) as client,
        pytest.raises(TimeoutError, match="of its own"),
    ):
        next(run_tasks(client, [(too_late, Needs(versions(), {}))]))


def test_tasks_end_where_nobody_waits_for_them(cluster: Any, tmp_path: Path) -> None:
    needs, file = Needs(versions(), {}), tmp_path / "told"
    with connected(cluster.scheduler_address) as client:
        found = run_tasks(client, [(at_once, needs), (partial(until_stopped, file), needs)])
        assert next(found).startswith(("0 at tcp://", "1 at tcp://", "2 at tcp://"))
        found.close()
        end = time.monotonic() + 20
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.05)
    assert file.exists()


def test_a_task_is_not_run_where_its_files_are_others(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("other")
    needs = Needs(versions(), {str(tmp_path / "weights"): "0" * 64})
    with (
        connected(cluster.scheduler_address) as client,
        pytest.raises(EnvironmentLacksError, match="weights has sha256 d"),
    ):
        next(run_tasks(client, [(at_once, needs)]))
