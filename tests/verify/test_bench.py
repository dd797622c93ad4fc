"""The two runtimes timed beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.exports import only
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.verify.bench import Timing, bench_networks


def test_both_runtimes_are_timed_beside_each_other(
    nano_artifacts: Artifacts, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vampnet_onnx.verify.bench.FRAMES", (5, 9))
    seen: list[tuple[str, int, int]] = []
    chosen = only(nano_artifacts, "codec_encoder", "c2f")
    found = bench_networks(
        chosen, Checkpoints(nano), threads=1, progress=lambda *told: seen.append(told)
    )
    assert [(t.component, t.frames) for t in found] == [
        ("codec_encoder", 5),
        ("codec_encoder", 9),
        ("c2f", 5),
        ("c2f", 9),
    ]
    assert all(t.onnx_ms > 0 and t.torch_ms is not None and t.torch_ms > 0 for t in found)
    assert seen[-1] == ("c2f", 12, 12)
    alone = bench_networks(chosen, None, threads=1)
    assert [(t.torch_ms, t.ratio) for t in alone] == [(None, None)] * 4
    assert Timing("x", 1, 2.0, 5.0).ratio == 2.5
