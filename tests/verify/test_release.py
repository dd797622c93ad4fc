"""A release opens its checkpoints once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.checkpoint_files import count_readings, lora_of, saved
from vampnet_onnx.configs.config import config_from
from vampnet_onnx.verify.release import release_set


def test_a_release_hashes_a_file_once_and_looks_at_its_weights_once(
    nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = saved(lora_of(nano), tmp_path / "style.pth")
    config = config_from(
        {
            "model": "mine",
            "checkpoint": {"path": nano, "lora": {"coarse": lora}},
            "export": {"rates": []},
            "verify": {"seeds": [0], "frames": [3], "batches": [1]},
        },
        source="my.toml",
    )
    calls = count_readings(monkeypatch)
    found = release_set(
        config,
        artifacts=tmp_path / "artifacts",
        report=tmp_path / "report",
        progress=lambda _name, _done, _total: None,
    )
    names = ["codec.pth", "coarse.pth", "c2f.pth", "style.pth"]
    assert {source.name for source in found.report.sources} == set(names)
    hashed = {name: calls["sha256"][name] for name in names}
    assert hashed == calls["check_weights"] == dict.fromkeys(names, 1)
    # Dimensions, then the codec once and for all, and a transformer for the export, by itself
    # and in whole generations; its LoRA file by itself first instead.
    opened = calls["unpickle"]
    assert opened["codec.pth"] == 2
    assert max(opened.values()) <= 4
