"""Passes are proved on small modules: a broken one is caught there, whatever the size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
from torch import nn

from tests.support.exports import exported
from vampnet_onnx.export.components.component import Structure
from vampnet_onnx.export.passes import (
    FoldCodebooksIntoEmbedding,
    FoldSnake,
    FoldWeightNorm,
    MergeLoRA,
    NormaliseCodebooks,
    PointwiseToLinear,
    StackCodebooks,
    TabulatePositionBias,
)
from vampnet_onnx.export.passes.base import PassError, ReplaceEvery
from vampnet_onnx.export.proof import prove_passes, small_component, small_structure
from vampnet_onnx.models import CodecDims, ModelSet, VampNetDims
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes

RELEASED = sizes()["released"]
CODEC = CodecDims.from_kwargs(RELEASED["codec"], "sizes.toml")
COARSE = VampNetDims.from_kwargs(RELEASED["coarse"], "sizes.toml")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    prove_passes.cache_clear()
    yield
    prove_passes.cache_clear()


def structure(name: str) -> Structure:
    return Structure(name, "", CODEC, COARSE if name == "coarse" else None)


@pytest.mark.parametrize("name", ["codec_encoder", "codec_decoder", "coarse"])
def test_the_small_module_has_the_structure_and_no_size(name: str) -> None:
    small = small_component(structure(name)).module
    assert sum(p.numel() for p in small.parameters()) < 400_000
    kinds = [type(m).__name__ for m in small.modules()]
    if name == "coarse":
        assert kinds.count("LoRALinear") >= 6 * COARSE.n_layers - 1 > 100
    else:
        assert kinds.count("Snake1d") > 20


def test_widths_that_differ_go_on_differing() -> None:
    dims = dataclasses.replace(CODEC, codebook_dims=(32, 8, 8, 16), n_codebooks=4)
    small = small_structure(Structure("codec_decoder", "", dims)).codec
    assert small is not None and small.codebook_dims == (4, 2, 2, 3)


BROKEN: list[tuple[str, type[ReplaceEvery], Callable[[nn.Module], None]]] = [  # type: ignore[type-arg]
    ("codec_encoder", FoldSnake, lambda made: made.inverse.mul_(1.01)),
    ("codec_encoder", FoldWeightNorm, lambda made: made.weight.mul_(1.01)),
    ("codec_encoder", NormaliseCodebooks, lambda made: made.entries.neg_()),
    ("codec_decoder", StackCodebooks, lambda made: made.bias.add_(0.1)),
    ("coarse", FoldCodebooksIntoEmbedding, lambda made: made.tables[1].mul_(1.01)),
    ("coarse", MergeLoRA, lambda made: made.weight.mul_(1.01)),
    ("coarse", TabulatePositionBias, lambda made: made.weight[127].add_(0.1)),
    ("coarse", PointwiseToLinear, lambda made: made.bias.add_(0.1)),
]


@pytest.mark.parametrize(
    "name, kind, spoil", BROKEN, ids=[f"{name} {kind.__name__}" for name, kind, _ in BROKEN]
)
@pytest.mark.parametrize("share", [0, 0.6], ids=["first", "later"])
def test_a_broken_pass_is_caught_in_whichever_layer(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: type[ReplaceEvery],  # type: ignore[type-arg]
    spoil: Callable[[nn.Module], None],
    share: float,
) -> None:
    sound, made = kind.replacement, list[nn.Module]()
    monkeypatch.setattr(
        kind, "replacement", lambda *given: made.append(sound(*given)) or made[-1]
    )
    prove_passes(structure(name))
    monkeypatch.undo()
    at = int(share * len(made))
    count = iter(range(len(made)))

    def replacement(self: ReplaceEvery, module: nn.Module) -> nn.Module:  # type: ignore[type-arg]
        new: nn.Module = sound(self, module)
        if next(count) == at:
            spoil(new)
        return new

    monkeypatch.setattr(kind, "replacement", replacement)
    prove_passes.cache_clear()
    with pytest.raises(PassError, match=f"pass {kind.__name__} changed the module's output"):
        prove_passes(structure(name))


def test_an_export_proves_its_passes(
    models: ModelSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = MergeLoRA.replacement

    def twice(self: MergeLoRA, module: nn.Module) -> nn.Module:
        made = sound(self, module)  # type: ignore[arg-type]
        made.weight = nn.Parameter(made.weight * 2, requires_grad=False)
        return made

    monkeypatch.setattr(MergeLoRA, "replacement", twice)
    with pytest.raises(PassError, match="MergeLoRA changed the module's output"):
        exported(models, "coarse")
