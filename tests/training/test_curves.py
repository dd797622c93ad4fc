"""Loss curves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.image import imread

from training.curves import plot_curves
from vampnet_onnx.configs.errors import InputError


def test_loss_curves_are_drawn(trained: Path, tmp_path: Path) -> None:
    plot_curves(trained, tmp_path / "curves.png")
    five = imread(tmp_path / "curves.png")
    shutil.copytree(trained / "losses", tmp_path / "losses")
    (tmp_path / "losses" / "c2f.json").unlink()
    plot_curves(tmp_path, tmp_path / "curves.png")
    assert imread(tmp_path / "curves.png").shape[1] < five.shape[1]
    with pytest.raises(InputError, match="no loss curves"):
        plot_curves(tmp_path / "none", tmp_path / "curves.png")
