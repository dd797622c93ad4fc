"""The layers of the networks."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.support.checkpoint_files import lora_of, saved
from vampnet_onnx.models import load_vampnet, read_checkpoint, read_lora
from vampnet_onnx.models.networks.layers import LoRALinear


def test_a_merged_layer_computes_the_same_bits_without_an_update(
    nano: Path, tmp_path: Path
) -> None:
    path = saved(lora_of(nano), tmp_path / "style.pth")
    model = load_vampnet(read_checkpoint(nano / "coarse.pth"), lora=read_lora(path))
    latents = torch.randn(1, 10, 7, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model(latents)
    layers = [layer for layer in model.modules() if isinstance(layer, LoRALinear)]
    assert any(layer.rank for layer in layers)
    for layer in layers:
        layer.merge()
    assert not any("lora" in name for name, _ in model.named_parameters())
    with torch.inference_mode():
        torch.testing.assert_close(model(latents), before, rtol=0, atol=0)
