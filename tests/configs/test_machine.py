"""What a process has of its machine."""

from __future__ import annotations

import gc
import os
import platform
import weakref
from pathlib import Path

import numpy as np
import pytest

from vampnet_onnx.configs import machine


def test_peak_memory_counts_bytes() -> None:
    grown = np.ones(10_000_000)
    peak = machine.peak_memory()
    assert peak is not None and grown.nbytes < peak < 1 << 40


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores() == os.cpu_count()


def test_available_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    left = machine.available_memory()
    assert left is not None and 0 < left < 1 << 50
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5 kB\n"}

    class Files(type(Path())):  # type: ignore[misc]
        def read_text(self) -> str:  # type: ignore[override]
            if str(self) not in files:
                raise FileNotFoundError
            return files[str(self)]

    monkeypatch.setattr(machine, "Path", Files)
    assert machine.available_memory() == 5 * 1024
    files |= {"/sys/fs/cgroup/memory.max": "max", "/sys/fs/cgroup/memory.current": "100"}
    assert machine.available_memory() == 5 * 1024
    files["/sys/fs/cgroup/memory.max"] = "1100"
    assert machine.available_memory() == 1000
    files.clear()
    assert machine.available_memory() is None


def test_collections_leave_out_what_was_there_before() -> None:
    class Circle:
        def __init__(self) -> None:
            self.own = self

    before = weakref.ref(Circle())  # garbage
    assert gc.get_freeze_count() == 0
    with machine.new_garbage_only():
        assert before() is not None
        after = weakref.ref(Circle())
        gc.collect()
        assert before() is not None and after() is None
        with machine.new_garbage_only():
            pass
        assert gc.get_freeze_count() > 0
    gc.collect()
    assert before() is None and gc.get_freeze_count() == 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others keep none")
def test_freed_memory_goes_back_to_the_system_even_from_between_what_is_still_used() -> None:
    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    pieces = [bytes(16_000) for _ in range(6_000)]  # 96 MB, too small to be mapped by itself
    used = pieces[::200]
    pieces.clear()
    kept = resident()
    machine.give_memory_back()
    assert kept - resident() > 50_000_000
    assert len(used) == 30
