"""Weights that are computed when they are asked for are those computed at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vampnet_onnx.export.components.component import TracedComponent
from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.export.deferred import Deferred, deferred, weightless
from vampnet_onnx.export.passes.base import apply_passes
from vampnet_onnx.models import ModelSet


def component_of(models: ModelSet, name: str) -> TracedComponent:
    found = build_component(name, models)
    assert isinstance(found, TracedComponent)
    return found


@pytest.mark.parametrize("name", ["codec_encoder", "codec_decoder", "coarse", "c2f"])
def test_passes_over_deferred_weights_give_the_same_bits(models: ModelSet, name: str) -> None:
    at_once, later = component_of(models, name), component_of(models, name)
    own = {id(parameter) for parameter in later.module.parameters()}
    module = deferred(later.module)
    assert apply_passes(module, later.passes) == apply_passes(at_once.module, at_once.passes)
    wanted, found = (dict(m.named_parameters()) for m in (at_once.module, module))
    assert list(found) == list(wanted) and len(wanted) > 10
    for key, value in found.items():
        assert isinstance(value, Deferred)
        assert value.shape == wanted[key].shape and value.stride() == wanted[key].stride()
        assert torch.equal(value.compute(), wanted[key]), key
    assert own == {id(parameter) for parameter in later.module.parameters()}


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    asked: list[int] = []

    def made() -> torch.Tensor:
        asked.append(1)
        return torch.arange(6.0).reshape(2, 3)

    value = Deferred(weightless(nn.Linear(3, 2, bias=False)).weight.detach(), made)
    first, second = (value.t() @ value).split([1, 2])
    assert not asked and second.shape == (2, 3)
    assert torch.equal(first.compute(), torch.tensor([[9.0, 12.0, 15.0]]))
    assert len(asked) == 2  # and nothing is kept


def test_values_that_are_known_go_into_what_is_deferred() -> None:
    weight = deferred(nn.Linear(2, 3).requires_grad_(False)).weight
    found = weight.detach() * torch.tensor([2.0, 3.0])
    assert isinstance(found, Deferred) and found.shape == (3, 2)
    assert torch.equal(found.compute(), weight.compute() * torch.tensor([2.0, 3.0]))


@pytest.mark.parametrize(
    "ask, said",
    [
        (lambda value: value.add_(1), "in place"),
        (lambda value: value.sum().item(), "looks at"),
        (lambda value: bool((value == 0).any()), "looks at"),
    ],
    ids=["in place", "a number", "a branch"],
)
def test_a_pass_that_looks_at_a_value_or_changes_it_in_place_stops(ask, said: str) -> None:  # type: ignore[no-untyped-def]
    weight = deferred(nn.Linear(2, 2).requires_grad_(False)).weight
    with pytest.raises(TypeError) as caught:
        ask(weight)
    assert said in str(caught.value)


def test_a_module_without_values_keeps_shapes_types_and_strides() -> None:
    module = nn.Linear(3, 2).double()
    module.weight = nn.Parameter(module.weight.detach().t().contiguous().t())
    empty = weightless(module)
    assert empty.weight.shape == (2, 3) and empty.weight.dtype == torch.float64
    assert empty.weight.stride() == module.weight.stride() == (1, 2)
    with pytest.raises(RuntimeError):
        empty.weight.numpy()
