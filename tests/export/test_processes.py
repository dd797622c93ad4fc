"""Graphs that other processes make are the same, and whatever ends them is said."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.sets import NETWORKS
from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.export import processes
from vampnet_onnx.export.components.registry import structure_of
from vampnet_onnx.export.processes import GraphMakers, processes_for
from vampnet_onnx.export.trace import GraphRequest, graph_of
from vampnet_onnx.models import Checkpoints


def request_for(folder: Path, name: str) -> GraphRequest:
    checkpoints = Checkpoints(folder)
    structure = structure_of(name, "", checkpoints.codec_dims, checkpoints.dims)
    assert structure is not None
    return GraphRequest(structure, 20)


def test_two_processes_make_the_graphs_that_one_makes(nano: Path) -> None:
    asked = [request_for(nano, name) for name in ("codec_encoder", "coarse")]
    with GraphMakers(asked, 2) as makers:
        mine = [process._process for process in makers._all]
        found = [makers.making[request].result() for request in asked]
        deadline = time.monotonic() + 60
        while not all(process.returncode is not None for process in mine):
            assert time.monotonic() < deadline, "processes without a graph to make go on"
            time.sleep(0.01)
    assert found == [graph_of(request) for request in asked]
    assert len(mine) == 2


def test_a_process_that_is_killed_is_said_in_one_message(nano: Path) -> None:
    asked = request_for(nano, "coarse")
    with GraphMakers([asked], 1) as makers:
        os.kill(makers._all[0]._process.pid, signal.SIGKILL)
        with pytest.raises(EnvironmentLacksError, match=r"coarse was killed.*--jobs 1"):
            makers.making[asked].result()


def test_what_goes_wrong_in_a_process_comes_back(nano: Path) -> None:
    wrong = dataclasses.replace(request_for(nano, "coarse"), opset=99)
    with (
        GraphMakers([wrong], 1) as makers,
        pytest.raises(RuntimeError, match=r"(?s)in the process.*Traceback.*opset"),
    ):
        makers.making[wrong].result()


def test_leaving_ends_the_processes_whatever_they_are_at(nano: Path) -> None:
    asked = [request_for(nano, name) for name in NETWORKS]
    with pytest.raises(KeyboardInterrupt), GraphMakers(asked, 2) as makers:
        mine = [process._process for process in makers._all]
        raise KeyboardInterrupt
    assert all(process.returncode is not None for process in mine)
    assert all(future.cancelled() or future.exception() for future in makers.making.values())


def test_as_many_as_cores_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, memory, graphs, wanted in (
        (8, 64 << 30, 4, 4),
        (2, 64 << 30, 4, 2),
        (8, 3 << 30, 4, 3),
        (8, 1 << 20, 4, 1),
        (8, None, 4, 4),
        (8, 64 << 30, 0, 1),
    ):
        monkeypatch.setattr(processes, "cores", lambda cores=cores: cores)
        monkeypatch.setattr(processes, "available_memory", lambda memory=memory: memory)
        assert processes_for(graphs) == wanted


def test_a_program_without_a_guard_can_export_with_processes(
    nano: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from vampnet_onnx.export.jobs import export_checkpoints\n"
        f"made = export_checkpoints({str(nano)!r}, {str(tmp_path / 'store')!r}, jobs=2,"
        " components=['codec_encoder', 'coarse'], cache=False)\n"
        "print(len(made.manifest.components))\n"
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "2\n", done.stderr
