"""What a module computes on its example, and what parameters it holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vampnet_onnx.export.components.component import Component


def outputs(component: Component) -> list[Tensor]:
    with torch.no_grad():
        found = component.module(*component.example)
    return [found] if isinstance(found, Tensor) else list(found)


def parameters(module: nn.Module) -> set[str]:
    return {name.rpartition(".")[2] for name, _ in module.named_parameters()}
