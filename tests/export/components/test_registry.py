"""The table of components finds them by itself, and is the only one."""

from __future__ import annotations

from pathlib import Path

import pytest

from vampnet_onnx.export import components
from vampnet_onnx.export.components import registry
from vampnet_onnx.export.components.registry import (
    COMPONENTS,
    available,
    is_known,
    required_checkpoint,
)

SCRATCH = """
from vampnet_onnx.export.components.component import Exporter

EXPORTERS = (Exporter("beats", 25, lambda models, variant: None),)
"""


def test_components_stand_in_the_order_used_everywhere() -> None:
    assert COMPONENTS == (
        "codec_encoder",
        "codec_decoder",
        "coarse",
        "c2f",
        "beat_tracker",
        "audio_processor",
        "mask_generator",
        "sampler",
    )


def test_a_new_component_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch_beats.py").write_text(SCRATCH, "utf-8")
    monkeypatch.setattr(components, "__path__", [*components.__path__, str(tmp_path)])
    found = [exporter.name for exporter in registry._found()]
    assert found == [*COMPONENTS[:2], "beats", *COMPONENTS[2:]]


@pytest.mark.parametrize(
    "name, variant, known",
    [
        ("coarse", "", True),
        ("coarse", "latents", True),
        ("coarse", "from_8000", False),
        ("audio_processor", "from_8000", True),
        ("audio_processor", "from_0", False),
        ("audio_processor", "latents", False),
        ("sampler", "latents", False),
        ("coarse", "generator", True),
        ("coarse", "generator.int8", False),
        ("sampler", "generator", False),
        ("decoder", "", False),
    ],
)
def test_names_and_variants_that_are_none_are_told_apart(
    name: str, variant: str, known: bool
) -> None:
    assert is_known(name, variant) is known


def test_a_checkpoint_allows_what_is_made_from_it() -> None:
    assert available(["coarse"]) == ["coarse"]
    others = ("coarse", "beat_tracker")
    assert available(["codec", "c2f"]) == [n for n in COMPONENTS if n not in others]
    assert available(["wavebeat"]) == ["beat_tracker"]
    assert required_checkpoint("c2f") == ("c2f",) and required_checkpoint("sampler") == ()
