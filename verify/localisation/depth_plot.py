"""A picture of how an error grows over the depth of a network."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from vampnet_onnx.configs.files import replacing

from .culprit import Localisation

_FLOOR = 1e-9  # a logarithmic axis has no zero


def plot_depth(found: Localisation, path: Path, *, title: str) -> None:
    """Draw error so far and own error of every module, culprits marked.

    The suffix of the path gives the format.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    findings = [f for f in found.findings if f.error == f.error]
    height = max(4.0, 0.16 * len(findings))
    figure, axes = plt.subplots(figsize=(9, height), layout="constrained")
    rows = range(len(findings))
    largest = max((f.error for f in findings if f.error < float("inf")), default=1.0)
    beyond = max(largest, 1.0) * 10
    axes.plot(
        np.clip([f.error for f in findings], _FLOOR, beyond),
        rows,
        color="0.4",
        marker=".",
        label="error when the whole export runs",
    )
    axes.scatter(  # NaN, where it was not tried, is left out
        np.clip([f.own_error for f in findings], _FLOOR, beyond),
        rows,
        color="C0",
        s=18,
        zorder=3,
        label="its own error, on the reference's inputs",
    )
    for i, finding in enumerate(findings):
        if finding.path in found.culprits:
            axes.axhspan(i - 0.5, i + 0.5, color="C3", alpha=0.25)
    axes.set_xscale("log")
    axes.set_yticks(list(rows), [f.path or "(whole)" for f in findings], fontsize=6)
    axes.invert_yaxis()
    axes.set_xlabel(f"relative L2 error; less than {_FLOOR:g}, zero too, is drawn there")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)  # covers no point
    axes.grid(axis="x", alpha=0.3)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=110)
    plt.close(figure)
