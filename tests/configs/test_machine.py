"""What a process has of its machine."""

from __future__ import annotations

import os

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
