"""The table of runtimes."""

from __future__ import annotations

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.matrix import load_matrix
from vampnet_onnx.verify.sides.runtimes.backend import all_backends, chosen_backends

NAMES = [
    "default",
    "threads2",
    "basic",
    "off",
    "parallel",
    "saved",
    "openvino",
    "onnx-reference",
    "node",
    "web",
    "oldest",
]


def test_the_table_holds_these_and_what_is_declared_is_of_them() -> None:
    assert sorted(all_backends()) == sorted(NAMES)
    assert {declared.runtime for declared in load_matrix().unsupported} <= set(NAMES)
    assert [backend.name for backend in chosen_backends(["web", "off"])] == ["web", "off"]


def test_an_unknown_runtime_and_one_that_is_named_twice_are_refused() -> None:
    with pytest.raises(InputError, match=r"no 'oldst' \(did you mean 'oldest'\?\); known are"):
        chosen_backends(["default", "oldst"])
    with pytest.raises(InputError, match="off is there 2 times"):
        chosen_backends(["off", "off"])
