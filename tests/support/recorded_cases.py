"""Reading the recorded cases of reference behaviour: parameters, models, settings."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.support.sets import GoldenSet
from vampnet_onnx.configs.settings import GenerationSettings, generation_settings
from vampnet_onnx.models.behaviour.generate import TokenModel, token_model

# The functions of masks that were recorded, without and with random draws.
DETERMINISTIC_MASKS = (
    "inpaint_5_7",
    "inpaint_0_0",
    "inpaint_4_0",
    "periodic_7_1",
    "periodic_5_3",
    "periodic_6_4",
    "periodic_0_1",
    "codebook_mask_2",
    "codebook_mask_0",
    "codebook_unmask_2",
    "time_stretch_3",
)
SEEDED_MASKS = (
    "random_03",
    "linear_random_07",
    "dropout_025",
    "periodic_roll_7_3",
    "build_default",
    "build_busy",
)


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


def recorded_case(
    golden: GoldenSet, case: str
) -> tuple[TokenModel, torch.Tensor, torch.Tensor | None, GenerationSettings, int]:
    choices = parameters(golden, case)
    seed, has_mask = choices.pop("seed"), "mask" not in choices
    choices.pop("mask", None)
    has_mask = has_mask and f"{case}/mask" in golden._arrays
    return (
        golden_model(golden, case.split("/")[0].removeprefix("generate_")),
        golden.tensor(f"{case}/start_tokens"),
        golden.tensor(f"{case}/mask") if has_mask else None,
        generation_settings(**choices),
        seed,
    )
