"""Passes over modules: what each promises, and that the runner believes none of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vampnet_onnx.export.components.component import Component, sharing_copy
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.graph import check_graph
from vampnet_onnx.export.passes import (
    FoldCodebooksIntoEmbedding,
    FoldSnake,
    FoldWeightNorm,
    MergeLoRA,
    ModulePass,
    NormaliseCodebooks,
    NotFiniteError,
    PassResult,
    PointwiseToLinear,
    StackCodebooks,
    TabulatePositionBias,
    run_module_passes,
)
from vampnet_onnx.export.passes.base import PassError
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.models.networks.layers import Snake1d, WNConv1d, WNConvTranspose1d
from vampnet_onnx.models.networks.quantize import VectorQuantize
from vampnet_onnx.models.networks.vampnet import RelativePositionBias

COMPONENTS = [
    ("codec_encoder", ""),
    ("codec_decoder", ""),
    ("coarse", ""),
    ("coarse", "latents"),
    ("c2f", ""),
]


@pytest.fixture(scope="module")
def models(nano: Path) -> ModelSet:
    return open_models(nano)


def outputs(component: Component) -> list[Tensor]:
    with torch.no_grad():
        found = component.module(*component.example)
    return [found] if isinstance(found, Tensor) else list(found)


def parameters(module: nn.Module) -> set[str]:
    return {name.rpartition(".")[2] for name, _ in module.named_parameters()}


@pytest.mark.parametrize("name, variant", COMPONENTS)
def test_all_passes_together_keep_what_the_published_model_computes(
    models: ModelSet, name: str, variant: str
) -> None:
    component = build_component(name, models, variant=variant)
    before = outputs(component)
    records = run_module_passes(component.module, component.passes, component.example)
    assert [record.name for record in records] == [type(p).__name__ for p in component.passes]
    assert all(record.changed > 0 and record.details for record in records)
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


def test_a_sharing_copy_has_a_structure_of_its_own_and_the_same_tensors(
    models: ModelSet,
) -> None:
    original = models.transformers["coarse"]
    copied = sharing_copy(original)
    assert copied is not original
    for (name, a), (_, b) in zip(
        original.named_parameters(), copied.named_parameters(), strict=True
    ):
        assert a is b, name
    copied.classifier = nn.Identity()
    assert not isinstance(original.classifier, nn.Identity)


# What each promises.


def test_weight_norm_is_folded_to_g_v_over_its_norm() -> None:
    draw = torch.Generator().manual_seed(0)
    holder = nn.Module()
    holder.a = WNConv1d(3, 5, 7, stride=2, padding=3, dilation=1)
    holder.b = WNConvTranspose1d(3, 5, 4, stride=2, padding=1)
    for conv in (holder.a, holder.b):
        for value in conv.parameters():
            value.data = torch.randn(value.shape, generator=draw)
    x = torch.randn(2, 3, 20, generator=draw)
    by_hand = {}
    for key in ("a", "b"):
        conv = getattr(holder, key)
        norm = conv.weight_v.flatten(1).norm(dim=1)[:, None, None]
        by_hand[key] = conv.weight_g * conv.weight_v / norm
    expected = (
        F.conv1d(x, by_hand["a"], holder.a.bias, stride=2, padding=3),
        F.conv_transpose1d(x, by_hand["b"], holder.b.bias, stride=2, padding=1),
    )
    result = FoldWeightNorm().call(holder)
    FoldWeightNorm().ensures(holder)
    assert result.changed == 2 and parameters(holder) == {"weight", "bias"}
    for key, wanted in zip("ab", expected, strict=True):
        torch.testing.assert_close(getattr(holder, key)(x), wanted, rtol=1e-5, atol=1e-5)


def test_snake_keeps_its_reciprocal() -> None:
    holder = nn.Sequential(Snake1d(3))
    holder[0].alpha.data = torch.tensor([0.5, -2.0, 3.0])[None, :, None]
    x = torch.linspace(-3, 3, 30).reshape(1, 3, 10)
    alpha = holder[0].alpha.data
    expected = x + torch.sin(alpha * x).pow(2) / (alpha + 1e-9)
    FoldSnake().call(holder)
    FoldSnake().ensures(holder)
    assert parameters(holder) == {"alpha", "inverse"}
    torch.testing.assert_close(holder(x), expected, rtol=1e-6, atol=1e-6)


def test_lora_is_merged_whether_or_not_a_layer_has_one(models: ModelSet) -> None:
    component = build_component("coarse", models)
    result = MergeLoRA().call(component.module)
    MergeLoRA().ensures(component.module)
    assert result.changed == 6 and "into 5 of 6" in result.details
    assert not parameters(component.module) & {"lora_A", "lora_B"}


def test_the_position_table_is_the_bucket_formula_at_any_length(models: ModelSet) -> None:
    bias = models.transformers["coarse"].transformer.layers[0].self_attn
    original = bias.relative_attention_bias
    assert isinstance(original, RelativePositionBias)
    component = build_component("coarse", models)
    TabulatePositionBias().call(component.module)
    layer = component.module.get_submodule("transformer.layers.0.self_attn")
    for frames in (1, 2, 127, 128, 129, 400):
        found = layer.relative_attention_bias(frames)
        assert torch.equal(found, original(frames)), frames


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
    from tests.support.sets import NANO
    from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_file

    kwargs = NANO["codec"] | {"codebook_dim": [5, 2, 7]}
    write_random_file(tmp_path / "codec.pth", kwargs, seed=0)
    component = build_component("codec_decoder", open_models(tmp_path))
    before = outputs(component)[0]
    run_module_passes(component.module, component.passes, component.example)
    torch.testing.assert_close(outputs(component)[0], before, rtol=1e-5, atol=1e-5)


def test_normalised_codebooks_choose_the_same_entries(models: ModelSet) -> None:
    component = build_component("codec_encoder", models)
    codes = outputs(component)[0]
    NormaliseCodebooks().call(component.module)
    NormaliseCodebooks().ensures(component.module)
    assert not any(isinstance(m, VectorQuantize) for m in component.module.modules())
    assert torch.equal(outputs(component)[0], codes)


# The runner.


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
    with pytest.raises(NotFiniteError):
        run_module_passes(module, component.passes, (torch.full((2, 2), float("nan")),))


def test_the_graph_check_refuses_what_has_no_place_in_a_file(models: ModelSet) -> None:
    """The check is run on every export; here it must see what it looks for."""
    import numpy as np
    import onnx_ir as ir

    from tests.support.exports import exported

    found = exported(models, "coarse", variant="latents")
    check_graph(found.model, 20)
    with pytest.raises(PassError, match="opsets"):
        check_graph(found.model, 19)
    graph = found.model.graph
    stray = ir.Value(name="stray", const_value=ir.tensor(np.ones(3, np.float32)))
    graph.register_initializer(stray)
    with pytest.raises(PassError, match="unused weight in the file: stray"):
        check_graph(found.model, 20)
    del graph.initializers["stray"]
    norm = graph.initializers["transformer.norm.weight"]
    good = norm.const_value
    norm.const_value = ir.tensor(np.full(21, np.nan, np.float32))
    with pytest.raises(PassError, match=r"non-finite weight in the file: transformer\.norm"):
        check_graph(found.model, 20)
    norm.const_value = good
    next(iter(graph)).op_type = "RandomNormal"
    with pytest.raises(PassError, match="RandomNormal"):
        check_graph(found.model, 20)
