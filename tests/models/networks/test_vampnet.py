"""The transformers compute what the published packages computed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from tests.support.sets import GoldenSet, assert_within

LOGITS_TOLERANCE = 2e-6


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
