"""The runner of passes: it believes none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.modules import outputs
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.passes import (
    FoldCodebooksIntoEmbedding,
    FoldSnake,
    ModulePass,
    NotFiniteError,
    PassResult,
    PointwiseToLinear,
    StackCodebooks,
    TabulatePositionBias,
    run_module_passes,
)
from vampnet_onnx.export.passes.base import PassError
from vampnet_onnx.models import ModelSet, open_models

COMPONENTS = [
    ("codec_encoder", ""),
    ("codec_decoder", ""),
    ("coarse", ""),
    ("coarse", "latents"),
    ("c2f", ""),
]


@pytest.mark.parametrize("name, variant", COMPONENTS)
def test_all_passes_together_keep_what_the_published_model_computes(
    models: ModelSet, name: str, variant: str
) -> None:
    component = build_component(name, models, variant=variant)
    before = outputs(component)
    records = run_module_passes(component.module, component.passes, component.example)
    assert [record.name for record in records] == [type(p).__name__ for p in component.passes]
    assert records and all(record.changed > 0 and record.details for record in records)
    for old, new in zip(before, outputs(component), strict=True):
        if old.is_floating_point():
            assert (new - old).norm() <= 1e-5 * old.norm()
        else:
            assert torch.equal(old, new)


@pytest.mark.parametrize("name, variant", COMPONENTS)
def test_passes_leave_the_models_as_they_were(
    models: ModelSet, name: str, variant: str
) -> None:
    """The oracle is the same object the component was built from."""
    owners = [models.codec, *models.transformers.values()]
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in owners if m]
    modules = [[type(x) for x in m.modules()] for m in owners if m]
    component = build_component(name, models, variant=variant)
    run_module_passes(component.module, component.passes, component.example)
    assert modules == [[type(x) for x in m.modules()] for m in owners if m]
    for state, owner in zip(before, owners, strict=True):
        assert owner is not None
        after = owner.state_dict()
        assert set(after) == set(state)
        assert all(torch.equal(after[key], value) for key, value in state.items())


class _Broken:
    """A pass that claims to change nothing and does."""

    def __init__(self, change: object) -> None:
        self.change = change

    tolerance = 1e-5

    def requires(self, module: nn.Module) -> None:
        pass

    def call(self, module: nn.Module) -> PassResult:
        self.change(module)  # type: ignore[operator]
        return PassResult(1, "nothing to see")

    def ensures(self, module: nn.Module) -> None:
        pass


def _one_percent(module: nn.Module) -> None:
    weight = module.get_parameter("transformer.norm.weight")
    weight.data = weight.data * 1.01


def _nan(module: nn.Module) -> None:
    weight = module.get_parameter("transformer.norm.weight")
    weight.data = weight.data * float("nan")


def _other_shape(module: nn.Module) -> None:
    module.classifier = nn.Identity()


def _other_type(module: nn.Module) -> None:
    module.double()


def _no_norm(module: nn.Module) -> None:
    module.get_submodule("transformer.layers.0").norm_3 = nn.Identity()


def _swapped_halves(module: nn.Module) -> None:
    layer = module.get_submodule("transformer.layers.0.feed_forward.w_1")
    layer.weight.data = layer.weight.data.roll(layer.weight.shape[0] // 2, 0)


@pytest.mark.parametrize(
    "change", [_one_percent, _nan, _other_shape, _other_type, _no_norm, _swapped_halves]
)
def test_a_broken_pass_is_caught_whatever_it_claims(nano: Path, change: object) -> None:
    # Models of its own: what is planted must not reach those that other tests share.
    component = build_component("coarse", open_models(nano))
    with pytest.raises(PassError, match=r"_Broken changed|a pass changed"):
        run_module_passes(component.module, [_Broken(change)], component.example)


class _FlipsOneCode:
    tolerance = 0.0

    def requires(self, module: nn.Module) -> None:
        pass

    def call(self, module: nn.Module) -> PassResult:
        forward = module.forward

        def flipped(audio: Tensor) -> tuple[Tensor, Tensor]:
            codes, latents = forward(audio)
            codes = codes.clone()
            codes[0, 0, 0] += 1
            return codes, latents

        module.forward = flipped  # type: ignore[method-assign]
        return PassResult(1, "one code")

    def ensures(self, module: nn.Module) -> None:
        pass


def test_a_pass_that_flips_a_single_code_is_caught(models: ModelSet) -> None:
    component = build_component("codec_encoder", models)
    with pytest.raises(PassError, match="_FlipsOneCode changed"):
        run_module_passes(component.module, [_FlipsOneCode()], component.example)


class _Lazy(FoldSnake):
    def call(self, module: nn.Module) -> PassResult:
        return PassResult(0, "did nothing")


def test_a_pass_that_does_not_keep_its_promise_is_caught(models: ModelSet) -> None:
    component = build_component("codec_decoder", models)
    with pytest.raises(PassError, match="left a Snake1d"):
        run_module_passes(component.module, [_Lazy()], component.example)


@pytest.mark.parametrize(
    "name, order, words",
    [
        ("coarse", [PointwiseToLinear()], "must run after FoldWeightNorm"),
        ("codec_decoder", [StackCodebooks()], "must run after FoldWeightNorm"),
        ("codec_decoder", [FoldCodebooksIntoEmbedding()], "embed"),
        ("coarse", [StackCodebooks()], "quantizer"),
        ("coarse", [TabulatePositionBias(), TabulatePositionBias()], "found 0"),
        ("codec_encoder", [TabulatePositionBias()], "found 0"),
    ],
)
def test_a_pass_out_of_order_or_place_raises(
    models: ModelSet, name: str, order: Sequence[ModulePass], words: str
) -> None:
    component = build_component(name, models)
    with pytest.raises((PassError, AttributeError), match=words):
        run_module_passes(component.module, order, component.example)


def test_a_module_of_nan_can_prove_nothing_about_a_pass(models: ModelSet) -> None:
    component = build_component("coarse", models)
    module = nn.Sequential(nn.Flatten(0))
    with pytest.raises(NotFiniteError, match="NaN or infinit"):
        run_module_passes(module, component.passes, (torch.full((2, 2), float("nan")),))
