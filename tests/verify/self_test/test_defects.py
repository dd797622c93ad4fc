"""The defects themselves."""

from __future__ import annotations

import torch

from vampnet_onnx.export.components.registry import build_component
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.self_test.defects import ModuleDefect, all_defects


def test_planting_a_defect_leaves_the_reference_as_it_was(tiny: ModelSet) -> None:
    before = {n: p.clone() for n, p in tiny.transformers["coarse"].named_parameters()}
    planted = [
        defect
        for defect in all_defects()
        if defect.component == "coarse" and isinstance(defect, ModuleDefect)
    ]
    assert len(planted) > 10
    for defect in planted:
        defect.plant(build_component("coarse", tiny).module)
    after = dict(tiny.transformers["coarse"].named_parameters())
    assert before and set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_defect_has_a_name_and_a_description_of_its_own() -> None:
    defects = all_defects()
    assert len(defects) == 85
    assert len({defect.name for defect in defects}) == len(defects)
    assert len({defect.description for defect in defects}) == len(defects)
