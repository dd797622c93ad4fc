"""A copy of a module's structure."""

from __future__ import annotations

from torch import nn

from vampnet_onnx.export.passes.sharing import sharing_copy
from vampnet_onnx.models import ModelSet


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
