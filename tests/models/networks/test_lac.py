"""The codec computes what the published packages computed."""

from __future__ import annotations

import numpy as np

from tests.support.sets import GoldenSet, assert_within

ENCODER_TOLERANCE = 5e-5


AUDIO_TOLERANCE = 2e-4


def test_encoder_gives_the_published_latents_and_exact_codes(golden: GoldenSet) -> None:
    codec = golden.models.codec
    for case in golden.cases("encode"):
        audio = golden.tensor(f"{case}/audio")
        continuous = codec.encoder(codec.pad(audio))
        encoded = codec.encode(audio)
        assert_within(continuous, golden.array(f"{case}/z_continuous"), ENCODER_TOLERANCE)
        assert_within(encoded.latents, golden.array(f"{case}/latents"), ENCODER_TOLERANCE)
        assert_within(encoded.z, golden.array(f"{case}/z_quantized"), ENCODER_TOLERANCE)
        np.testing.assert_array_equal(encoded.codes, golden.array(f"{case}/codes"))


def test_decoder_gives_the_published_audio(golden: GoldenSet) -> None:
    for case in golden.cases("decode"):
        codes = golden.tensor(f"{case}/codes")
        codec = golden.models.codec
        assert_within(
            codec.decode_codes(codes), golden.array(f"{case}/audio"), AUDIO_TOLERANCE
        )
        by_interface = golden.array(f"{case}/audio_by_interface")
        assert_within(codec.decode_requantised(codes), by_interface, AUDIO_TOLERANCE)


def test_masked_codes_decode_as_the_published_interface_decodes_them(
    golden: GoldenSet,
) -> None:
    for case in golden.cases("decode_masked"):
        codes = golden.tensor(f"{case}/codes")
        expected = golden.array(f"{case}/audio_by_interface")
        for decode in (
            golden.models.codec.decode_codes,
            golden.models.codec.decode_requantised,
        ):
            assert_within(decode(codes), expected, AUDIO_TOLERANCE)
