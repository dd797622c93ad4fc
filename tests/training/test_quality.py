"""Measures of quality."""

from __future__ import annotations

import pytest
import torch

from tests.support.sets import NANO
from tests.support.untrained import quantiser
from training.quality import f_measure, si_sdr, token_quality
from vampnet_onnx.models import VampNet, VampNetDims


def test_si_sdr_of_a_known_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    audio = torch.randn(1, 1, 100_000, generator=generator)
    noise = torch.randn(1, 1, 100_000, generator=generator)
    assert si_sdr(3 * (audio + 0.1 * noise), audio).item() == pytest.approx(20, abs=0.1)


def test_a_model_that_knows_nothing_has_the_entropy_of_all_entries() -> None:
    codec, _ = quantiser()
    model = VampNet(VampNetDims.from_kwargs(NANO["coarse"], "nano"), rank=0)
    model.classifier.layers[0].weight_g.data.zero_()
    codes = torch.randint(11, (4, 3, 60), generator=torch.Generator().manual_seed(0))
    found = token_quality(model.eval(), codec.quantizer, codes)
    assert found.cross_entropy == pytest.approx(torch.tensor(11.0).log().item(), abs=1e-3)
    assert abs(found.reduction) < 0.03


@pytest.mark.parametrize(
    ("found", "known", "expected"),
    [
        ([0.5, 1.0, 1.5], [0.5, 1.0, 1.5], 1),
        ([0.56, 0.94], [0.5, 1.0], 1),  # 60 ms late and early
        ([0.58, 1.0], [0.5, 1.0], 0.5),  # 80 ms late: neither found nor right
        ([0.5, 0.52, 1.0], [0.5, 1.0], 0.8),  # one beat heard twice
        ([0.45, 0.5], [0.5, 0.56], 1),  # the nearest alone would leave one over
        ([1.0], [0.5, 1.0, 1.5], 0.5),
        ([], [0.5], 0),
    ],
    ids=str,
)
def test_beats_are_found_within_70_ms_once_each(
    found: list[float], known: list[float], expected: float
) -> None:
    assert f_measure(found, known) == pytest.approx(expected)
