"""The quantiser gives the published latents and codes."""

from __future__ import annotations

import numpy as np

from tests.support.sets import GoldenSet, assert_within

LOGITS_TOLERANCE = 2e-6


def test_from_codes_gives_the_published_latents(golden: GoldenSet) -> None:
    for case in golden.cases("decode"):
        found = golden.models.codec.quantizer.from_codes(golden.tensor(f"{case}/codes"))
        assert_within(found.z, golden.array(f"{case}/z_quantized"), LOGITS_TOLERANCE)
        np.testing.assert_array_equal(found.latents, golden.array(f"{case}/latents"))


def test_from_latents_requantises_to_the_same_codes(golden: GoldenSet) -> None:
    for case in golden.cases("decode"):
        found = golden.models.codec.quantizer.from_latents(golden.tensor(f"{case}/latents"))
        assert_within(found.z, golden.array(f"{case}/z_quantized"), LOGITS_TOLERANCE)
        np.testing.assert_array_equal(found.codes, golden.array(f"{case}/codes"))
