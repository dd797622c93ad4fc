"""The picture of what layers cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vampnet_onnx.verify.search.job import Sensitivity
from vampnet_onnx.verify.search.picture import plot_layers


def test_every_layer_is_named_and_the_bytes_are_the_same(
    found: Sequence[Sensitivity], tmp_path: Path
) -> None:
    pictures = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in pictures:
        plot_layers(found, path)
    one, two = (path.read_bytes() for path in pictures)
    assert one == two and one.count(b"<!-- transformer.layers.") == sum(
        layer.name.startswith("transformer.layers.") for layer in found[0].layers
    )
