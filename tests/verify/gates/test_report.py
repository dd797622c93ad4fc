"""What the report shows of a component."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from tests.support.checked import Outputs
from vampnet_onnx.reports import Component


def test_metrics_of_the_issue_are_all_reported(check: Callable[..., Component]) -> None:
    common = {
        "pearson",
        "max_abs",
        "mean_abs",
        "relative_l2",
        "snr_db",
        "nonfinite",
        "nonfinite_reference",
        "nonfinite_export",
        "nonfinite_disagreement",
    }
    tokens = {"token_accuracy", "tokens_unexplained"}
    assert common <= set(check("codec_decoder").metrics)
    encoder, coarse = check("codec_encoder"), check("coarse")
    assert common | tokens <= set(encoder.metrics)
    assert common | tokens | {"kl_nats"} <= set(coarse.metrics)
    assert encoder.accuracy_per_codebook == [1, 1, 1]
    assert coarse.accuracy_per_codebook == [1, 1]
    assert len(check("c2f").accuracy_per_codebook) == 1


def test_heat_map_and_scatter_show_the_worst_case(check: Callable[..., Component]) -> None:
    def spoil(inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        if inputs["codes"].shape == (3, 2, 13):
            found["logits"][1, 4, 7] += 5
        return found

    result = check("coarse", spoil, seeds=[0])
    assert result.heat_map is not None and result.scatter is not None
    assert result.heat_map.case == result.scatter.case == "coarse/seed=0/batch=3/length=13"
    # Position 7 is frame 3, codebook 1.
    values = np.array(result.heat_map.values)
    assert values.shape == (2, 13) and np.unravel_index(values.argmax(), (2, 13)) == (1, 3)
    assert values.max() == pytest.approx(5, rel=1e-5)
    gap = np.array(result.scatter.export) - np.array(result.scatter.reference)
    assert np.abs(gap).max() == pytest.approx(5, rel=1e-5)
