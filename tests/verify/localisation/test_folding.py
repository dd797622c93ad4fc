"""A module together with those that were folded into it."""

from __future__ import annotations

import numpy as np

from vampnet_onnx.verify.localisation.folding import folded_forms
from vampnet_onnx.verify.localisation.source import ModuleIO

A, B, C, D = (np.full(3, value, np.float32) for value in (1, 2, 3, 4))


def io(given: np.ndarray, made: np.ndarray, rounding: float = 0.0) -> ModuleIO:
    return ModuleIO((given,), (made,), lambda: rounding)


def test_neighbours_before_and_after_are_counted_in() -> None:
    forms = list(folded_forms(io(B, C, 1e-7), {"before": io(A, B, 2e-7), "after": io(C, D)}))
    ends = [(form.inputs[0][0], form.outputs[0][0]) for form in forms]
    assert ends == [(2, 4), (1, 3), (1, 4)]
    assert forms[-1].rounding is not None
    assert forms[-1].rounding() == 1e-7 + 2e-7


def test_a_chain_is_followed_and_what_does_not_touch_it_left_out() -> None:
    absent = {"one": io(A, B), "two": io(B, C), "elsewhere": io(np.zeros(3), np.zeros(3))}
    forms = list(folded_forms(io(C, D), absent))
    assert [form.inputs[0][0] for form in forms] == [2, 1]
    assert list(folded_forms(io(C, D), {})) == []
