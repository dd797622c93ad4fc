"""models/ computes what the published packages computed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tests.support.sets import GoldenSet, assert_within

ENCODER_TOLERANCE = 5e-5
LOGITS_TOLERANCE = 2e-6
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


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_transformer_gives_the_published_activations_and_logits(
    golden: GoldenSet, name: str
) -> None:
    model, codec = golden.models.transformers[name], golden.models.codec
    for case in golden.cases(name):
        activations: list[torch.Tensor] = []
        keep = partial(_append_output, activations)
        hooks = [layer.register_forward_hook(keep) for layer in model.transformer.layers]
        latents = model.embedding.from_codes(golden.tensor(f"{case}/codes"), codec.quantizer)
        logits = model(latents)
        for hook in hooks:
            hook.remove()
        np.testing.assert_array_equal(latents, golden.array(f"{case}/latents"))
        assert_within(logits, golden.array(f"{case}/logits"), LOGITS_TOLERANCE)
        for found, expected in zip(
            activations, golden.array(f"{case}/activations"), strict=True
        ):
            assert_within(found, expected, LOGITS_TOLERANCE)


def _append_output(
    kept: list[torch.Tensor], _module: torch.nn.Module, _inputs: object, output: torch.Tensor
) -> None:
    kept.append(output)
