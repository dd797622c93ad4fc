"""Codebooks stacked into one table."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.support.modules import outputs
from tests.support.sets import NANO
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.passes import run_module_passes
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file


def test_codebooks_are_stacked_so_that_any_number_of_them_may_be_given(
    models: ModelSet,
) -> None:
    component = build_component("codec_decoder", models)
    codec = models.codec
    assert codec is not None
    run_module_passes(component.module, component.passes, component.example)
    codes = torch.randint(11, (2, 3, 6), generator=torch.Generator().manual_seed(0))
    for count in (1, 2, 3):
        found = component.module.quantizer(codes[:, :count])
        expected = codec.quantizer.from_codes(codes[:, :count]).z
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_codebooks_of_unequal_width_are_stacked(tmp_path: Path) -> None:

    kwargs = NANO["codec"] | {"codebook_dim": [5, 2, 7]}
    write_random_file(tmp_path / "codec.pth", kwargs, seed=0)
    component = build_component("codec_decoder", open_models(tmp_path))
    before = outputs(component)[0]
    run_module_passes(component.module, component.passes, component.example)
    torch.testing.assert_close(outputs(component)[0], before, rtol=1e-5, atol=1e-5)
