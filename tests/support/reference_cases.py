"""Reading the recorded cases of reference behaviour: parameters, models, settings."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.support.sets import GoldenSet
from vampnet_onnx.models.behaviour.generate import TokenModel, token_model


@cache
def _recorded(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "reference.json").read_text("utf-8"))


def header(golden: GoldenSet, name: str) -> Any:
    return _recorded(golden.folder)[name]


def parameters(golden: GoldenSet, case: str) -> dict[str, Any]:
    """Return a case's parameters under our names."""
    renamed = {
        "_sampling_steps": "steps",
        "_dropout": "dropout",
        "ncc": "n_conditioning_codebooks",
    }
    found = _recorded(golden.folder)["cases"][case]
    return {renamed.get(name, name): value for name, value in found.items()}


def cases(golden: GoldenSet, kind: str) -> list[str]:
    """Return the recorded cases of a kind, ``kind/...`` at any depth."""
    names = [n for n in _recorded(golden.folder)["cases"] if n.startswith(f"{kind}/")]
    assert names, f"no recorded case of {kind}"
    return names


def golden_model(golden: GoldenSet, name: str) -> TokenModel:
    models = golden.models
    return token_model(name, models.transformers[name], models.codec.quantizer)


def toy_model(
    *, n_codebooks: int = 3, n_conditioning: int = 0, entries: int = 11, seed: int = 0
) -> TokenModel:
    """Return a model whose logits depend on every code of the same item, and on no other."""
    draw = torch.Generator().manual_seed(seed)
    n_predicted = n_codebooks - n_conditioning
    table = torch.randn(n_codebooks, entries + 1, 8, generator=draw)
    out = torch.randn(8, entries * n_predicted, generator=draw)

    def logits(codes: torch.Tensor) -> torch.Tensor:
        x = torch.stack([table[i][codes[:, i]] for i in range(n_codebooks)]).sum(0)
        x = x + x.mean(dim=1, keepdim=True)
        flat = (x @ out).reshape(len(codes), -1, entries)  # time-major, codebook-minor
        return flat.transpose(1, 2)

    return TokenModel("toy", logits, n_codebooks, n_conditioning, mask_token=entries)
