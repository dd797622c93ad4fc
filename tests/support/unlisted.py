"""A version whose manifest vouches for a graph with weights in a file it does not list."""

from __future__ import annotations

from pathlib import Path

import onnx

from tests.support.exports import without
from tests.support.versions import vouch_for_all


def with_unlisted_data(version: Path, target: Path, component: str) -> Path:
    """Copy a version and move the weights of a component to another file."""
    path = without(version, target) / f"{component}.onnx"
    model = onnx.load(str(path))
    onnx.save(
        model,
        str(path),
        save_as_external_data=True,
        location="elsewhere.data",
        size_threshold=0,
    )
    vouch_for_all(target)
    return target
