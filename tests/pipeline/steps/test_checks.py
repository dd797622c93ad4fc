"""Codes and masks that do not fit are refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pipeline_inputs import codes_for
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codes": np.zeros((1, 2, 40), np.int64)}, r"\[batch, 5, steps\]"),
        ({"codes": np.zeros((2, 5, 40), np.int64)}, "batch_size = 1"),
        ({"codes": np.zeros((5, 40), np.int64)}, "batch_size = 1"),
        ({"codes": np.zeros((1, 5, 0), np.int64)}, r"not \[1, 5, 0\]"),
        ({"codes": np.full((1, 5, 40), 9999)}, "from 9999 to 9999"),
        ({"codes": np.full((1, 5, 40), -1)}, "from -1"),
        ({"codes": np.zeros((1, 5, 40))}, "float64"),
        ({"mask": np.full((1, 5, 40), 2)}, "only 0 .* has 2"),
        ({"mask": np.ones((1, 5, 39), np.int64)}, "the mask is"),
    ],
)
def test_codes_and_masks_that_do_not_fit_are_refused(
    pipeline_a: VampPipeline, change: dict[str, np.ndarray], says: str
) -> None:
    codes = codes_for(pipeline_a)
    given_ = {"codes": codes, "mask": np.ones_like(codes), **change}
    with pytest.raises(InputError, match=says):
        pipeline_a.vamp(**given_, noise=PhiloxNoise(0))
