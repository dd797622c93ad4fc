"""A picture of what each layer of a transformer costs in a form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

from vampnet_onnx.configs.files import replacing

from .job import Sensitivity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FLOOR = 1e-9  # a logarithmic axis has no zero


def plot_layers(found: Sequence[Sensitivity], path: Path) -> None:
    """Draw the KL divergence of every layer alone; those left in float32 are marked.

    The suffix of the path gives the format: a picture of the same findings has the same bytes.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    height = sum(1.2 + 0.17 * (len(one.layers) + 1) for one in found)
    with mpl.rc_context({"svg.hashsalt": "vampnet-onnx"}):
        figure, rows = plt.subplots(
            len(found),
            1,
            figsize=(9, max(4.0, height)),
            height_ratios=[len(one.layers) + 1 for one in found],
            squeeze=False,
            layout="constrained",
        )
        for axes, one in zip(rows[:, 0], found, strict=True):
            _draw(axes, one)
        kind = path.suffix.lstrip(".") or "png"
        with replacing(path) as temporary:
            stamp = {"Date": None} if kind == "svg" else None
            figure.savefig(temporary, format=kind, dpi=110, metadata=stamp)
        plt.close(figure)


def _draw(axes: Axes, one: Sensitivity) -> None:
    names = [*(layer.name for layer in one.layers), "all but the layers"]
    costs = [*(layer.alone for layer in one.layers), one.rest]
    colours = ["C3" if layer.left else "C0" for layer in one.layers] + ["0.6"]
    places = range(len(names))
    axes.barh(places, [max(_FLOOR, cost.kl_nats) for cost in costs], color=colours)
    axes.set_yticks(list(places), names, fontsize=6)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("KL divergence from float32 of this layer alone in the form, nats")
    told = one.whole if one.cost is None else one.cost
    axes.axvline(told.kl_nats, color="0.3", linestyle="--")
    count = f"{len(one.left)} of {len(one.layers)} layers in float32 (red)"
    axes.set_title(
        f"{one.component} in {one.form}, {count}:\nagreement {told.agreement:.4f}, KL"
        f" {told.kl_nats:.2g} nats (dashed), {one.form_bytes / one.float32_bytes:.0%} of the"
        " bytes",
        fontsize=9,
    )
    axes.grid(axis="x", alpha=0.3)
