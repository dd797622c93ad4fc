"""The script that is sent: it must stand alone, and know where a thread is."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.command_line import ROOT
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.verify.bench import worker
from vampnet_onnx.verify.bench.worker import PLACES, Clock

SCRIPT = Path(worker.__file__)


def test_the_script_imports_nothing_but_the_standard_library_by_itself() -> None:
    """It is run by versions of the package that do not have it."""
    tree = ast.parse(SCRIPT.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert not getattr(node, "level", 0)
            names = [getattr(node, "module", None) or node.names[0].name]
            assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
    inner = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not [n for n in inner if n.level or (n.module or "").endswith("verify.bench")]


@pytest.mark.parametrize("job", PLACES)
def test_places_that_are_ours_are_there(job: str) -> None:
    """A file that is renamed would leave its phase without a second."""
    ours = [str(path) for path in ROOT.rglob("*.py")]
    foreign = ("/torch/", "/onnxsim/", "/onnxscript/")
    for _, marks in PLACES[job]:
        for mark in marks:
            file = mark.partition(":")[0]
            assert mark.startswith(foreign) or any(file in path for path in ours), mark


def test_a_version_that_knows_of_one_runtime_is_not_run_on_it_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_work = worker.Work()
    at_work.on = {"provider": "cuda", "tf32": False}
    assert at_work._runtime() == Runtime(provider="cuda", threads=1)
    at_work.on = {"runtime": "openvino"}
    assert at_work._runtime() == Runtime("openvino", threads=1)
    monkeypatch.setitem(sys.modules, "vampnet_onnx.configs.runtime", None)
    with pytest.raises(worker.LacksError, match="knows ONNX Runtime's CPU alone"):
        at_work._runtime()


def test_a_verification_is_of_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def seen(*_: object, **given: object) -> None:
        asked.append(given.get("runtime"))
        raise InputError("enough was seen")

    monkeypatch.setattr("vampnet_onnx.verify_export", seen)
    at_work = worker.Work()
    at_work.on = {"runtime": "openvino"}
    with pytest.raises(InputError, match="enough"):
        at_work.verify("checkpoint", None, "files")
    assert asked == ["openvino"]


def test_a_thread_is_where_the_first_place_says() -> None:
    code = compile("def inner():\n    return frame()\n", "/x/export/onnx_file.py", "exec")
    names = {"frame": sys._getframe}
    exec(code, names)
    frame = names["inner"]()  # type: ignore[operator]
    assert worker._place("export", frame) == "write"
    assert worker._place("verify", frame) == ""


def test_a_thread_that_waits_does_nothing_of_its_own() -> None:
    ready = threading.Event()
    waiting = threading.Thread(target=ready.wait, daemon=True)
    waiting.start()
    assert waiting.ident is not None
    while (frame := sys._current_frames()[waiting.ident]).f_code.co_name != "wait":
        pass
    assert worker._place("verify", frame) == "wait for others"
    ready.set()


def test_phases_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 11.0, 13.5, 14.0])
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(times))
    clock = Clock()
    for phase in ("open", "coarse", "open"):
        clock.ends(phase)
    assert clock.seconds == {"open": 1.5, "coarse": 2.5}


def test_memory_is_that_of_the_processes_it_started_as_well() -> None:
    """A child that holds 300 MB and one that holds nothing."""
    hold = (
        "import sys; held = bytearray(300 << 20); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    with_it = worker._of_family(os.getpid())
    child.communicate()
    assert with_it - worker._of_family(os.getpid()) > 250 << 20
    assert worker._of_family(child.pid) == 0


def test_what_is_sampled_adds_up_to_phases_and_a_total() -> None:
    with worker._sampled("verify") as found:
        time.sleep(0.1)
    seconds = found["seconds"]
    assert seconds["total"] >= 0.1 and found["memory"] is not None
    assert set(seconds) <= {*(place for place, _ in PLACES["verify"]), "other", "total"} | {
        "wait for others"
    }
