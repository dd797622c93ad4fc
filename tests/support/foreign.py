"""Networks that have nothing to do with VampNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Convolutional(nn.Module):
    """Two convolutions with batch norms, a skip around the second, an average, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        )
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        y = self.block(x)
        y += x  # changes the batch norm's output in place
        return self.head(torch.relu(y).mean((2, 3)))


class Odd(nn.Module):
    """What a walk may stumble over: tuples, dicts, names, calls twice, one module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.again = self.shared
        self.twice = nn.Linear(6, 6)
        self.parts = nn.ModuleDict(
            {"lists": nn.ModuleList([nn.Sequential(nn.Linear(6, 6), nn.Tanh())])}
        )
        self.two = _Two()
        self.never = nn.Linear(2, 2)

    def forward(self, x: Tensor, *, scale: Tensor, flag: bool = True) -> dict[str, Tensor]:
        x = self.again(self.shared(x))
        x = self.twice(torch.tanh(self.twice(x)))
        for part in self.parts["lists"]:
            x = part(x)
        low, (high, _) = self.two(values=x)
        return {"sum": low * scale + high if flag else low, "high": high}


class _Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.low, self.high = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, values: Tensor) -> tuple[Tensor, tuple[Tensor, None]]:
        return self.low(values), (self.high(values), None)


def convolutional() -> nn.Module:
    """Return one whose batch norms have seen something."""
    torch.manual_seed(0)
    made = Convolutional()
    for _ in range(3):
        made(torch.randn(4, 3, 9, 9) + 1)
    return made.eval()


def encoder() -> nn.Module:
    """Return an encoder of PyTorch's own, whose layers differ."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    made = nn.TransformerEncoder(layer, 2)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made.eval()


def odd() -> nn.Module:
    torch.manual_seed(0)
    return Odd().eval()
