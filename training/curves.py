"""A picture of the loss curves that training keeps."""

from __future__ import annotations

import json
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.files import replacing

from .optimise import NOTED
from .stages import LOSSES, STAGES


def plot_curves(folder: Path, path: Path) -> None:
    """Draw every loss over the steps, a panel each.

    Args:
        folder: of the checkpoints, with their losses.
        path: of the picture; its suffix gives the format.

    Raises:
        InputError: there are no losses.
        EnvironmentLacksError: matplotlib is not installed.
    """
    require_optional("matplotlib", otherwise="read the .json files themselves")
    files = sorted((folder / LOSSES).glob("*.json"), key=_place)
    if not files:
        raise InputError(f"{folder / LOSSES}: no loss curves; train first")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        1, len(files), figsize=(2.4 * len(files), 2.4), layout="constrained", squeeze=False
    )
    for panel, file in zip(panels[0], files, strict=True):
        curve = json.loads(file.read_text("utf-8"))
        panel.plot([NOTED * (i + 1) for i in range(len(curve))], curve, linewidth=1)
        panel.set_title(file.stem, fontsize=9)
        panel.set_xlabel("steps", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=90)
    plt.close(figure)


def _place(file: Path) -> tuple[int, str]:
    """Return where a curve stands: in the order of training."""
    return STAGES.index(file.stem.partition("-")[0]), file.stem
