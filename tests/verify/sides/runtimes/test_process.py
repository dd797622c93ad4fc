"""Runtimes in another process: arrays there and back, and a worker that ends."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import compute, record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.verify.sides.runtimes import process
from vampnet_onnx.verify.sides.runtimes.oldest import _WORKER
from vampnet_onnx.verify.sides.runtimes.process import (
    Command,
    lacking,
    read_arrays,
    started,
    write_arrays,
)

REMEDY = "install it so"
OURS = Command((sys.executable, "-I", str(_WORKER)), REMEDY)


def test_arrays_come_back_as_they_went(tmp_path: Path) -> None:
    arrays = {
        "codes": np.arange(24, dtype=np.int64).reshape(2, 3, 4).swapaxes(0, 2),
        "seed": np.array((1 << 64) - 1, np.uint64),
        "flags": np.array([True, False]),
        "none": np.zeros((2, 0), np.float32),
        "big": np.array([1.5, np.nan], ">f8"),
    }
    found = read_arrays(tmp_path / "x", write_arrays(tmp_path / "x", arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert (
            found[name].dtype == array.dtype.newbyteorder("=") and found[name].flags.writeable
        )


def test_a_graph_gives_in_another_process_what_it_gives_here(
    nano_artifacts: Artifacts,
) -> None:
    path = nano_artifacts.path(record_of(nano_artifacts, "coarse"))
    codes = np.arange(10, dtype=np.int64).reshape(1, 2, 5)
    with started(OURS, 1) as worker:
        assert worker.facts["what"].startswith("ONNX Runtime ")
        graph, other = worker.open(path), worker.open(path)
        (wanted,) = compute(path, codes=codes).values()
        for each in (graph, other, graph):
            (found,) = each.run({"codes": codes}).values()
            np.testing.assert_array_equal(found, wanted)
        del other, each  # its memory is given back there, and the rest goes on
        np.testing.assert_array_equal(graph.run({"codes": codes})["logits"], wanted)
        assert worker._closed == []
        with pytest.raises(InputError, match="switches no adapters"):
            graph.use_adapter(path)


def test_what_the_runtime_says_comes_back_whole(
    nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    path = nano_artifacts.path(record_of(nano_artifacts, "coarse"))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(path.read_bytes()[:-99])
    with started(OURS, 1) as worker:
        with pytest.raises(InputError, match=r"damaged\.onnx: ONNX Runtime .* cannot load it"):
            worker.open(damaged)
        with pytest.raises(InputError, match=r"does not run: .*INVALID_ARGUMENT"):
            worker.open(path).run({"codes": np.zeros((1, 2, 5), np.float32)})


def worker_that(tmp_path: Path, does: str) -> Command:
    script = tmp_path / "worker.py"
    script.write_text(
        "import sys, json, os\n"
        "def answer(**x): print(json.dumps(x), flush=True)\n"
        "for line in sys.stdin:\n"
        "    do = json.loads(line)['do']\n" + does
    )
    return Command((sys.executable, "-I", str(script)), REMEDY)


def test_a_worker_that_ends_is_a_finding_and_is_started_again(
    nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    path = nano_artifacts.path(record_of(nano_artifacts, "coarse"))
    command = worker_that(
        tmp_path,
        "    if do == 'start': answer(what='X 1', version='1')\n"
        "    if do == 'open': answer()\n"
        "    if do == 'run':\n"
        "        print('no such kernel', file=sys.stderr, flush=True)\n"
        "        os.abort()\n",
    )
    with started(command, 1) as worker:
        graph = worker.open(path)
        with pytest.raises(InputError, match=r"ended \(signal SIGABRT\): no such kernel"):
            graph.run({})
        with pytest.raises(InputError, match="its process has ended"):
            graph.run({})
        again = worker.open(path)
        with pytest.raises(InputError, match="its process has ended"):
            graph.run({})
        with pytest.raises(InputError, match="no such kernel"):
            again.run({})


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("    answer(lacks='no onnxruntime')\n", "no onnxruntime; install it so"),
        ("    print('hello', flush=True)\n", "answered 'hello', no JSON; install it so"),
        ("    print('[1]', flush=True)\n", r"answered '\[1\]', no JSON"),
        ("    sys.exit('broken')\n", r"ended \(exit code 1\): broken; install it so"),
    ],
)
def test_a_worker_that_cannot_begin_says_what_it_lacks(
    tmp_path: Path, does: str, says: str
) -> None:
    with pytest.raises(InputError, match=says), started(worker_that(tmp_path, does), 1):
        pass
    assert lacking(worker_that(tmp_path, does))
    assert "is not there; install it so" in lacking(Command(("no-such-program",), REMEDY))
    assert lacking(OURS) == ""


def test_a_program_that_says_nothing_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_START_S", 0.2)
    silent = Command((sys.executable, "-c", "import time; time.sleep(60)"), REMEDY)
    assert lacking(silent) == f"its process ended (signal SIGKILL): it said nothing; {REMEDY}"
