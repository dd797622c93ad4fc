"""Localisation as it is asked for: versions, files, references."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.edited import scaled
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.localisation.request import Request, locate_between, run_request


def test_two_versions_of_a_graph_are_compared_module_by_module(
    sound_c2f: dict, tmp_path: Path
) -> None:
    edited = scaled(
        sound_c2f["path"], "transformer.layers.0.feed_forward.w_2.weight", 1.001, tmp_path
    )
    assert (
        locate_between(sound_c2f["path"], sound_c2f["path"], sound_c2f["inputs"]).culprits
        == ()
    )
    found = locate_between(sound_c2f["path"], edited, sound_c2f["inputs"])
    assert found.culprits == ("transformer.layers.0.feed_forward.w_2",)


REQUEST = Request(
    artifacts=Path(),
    new=None,
    checkpoint=None,
    recorded=False,
    component=None,
    seed=0,
    length=None,
    batch=2,
    lora={},
    unsealed=False,
)


def test_two_plain_files_are_compared_by_the_facts_in_them(
    tiny: ModelSet, sound_c2f: dict, tmp_path: Path
) -> None:
    exported = sound_c2f["annotated"]
    edited = scaled(exported, "transformer.layers.1.self_attn.fc.weight", 1.01, tmp_path)
    found = run_request(replace(REQUEST, artifacts=exported, new=edited))
    assert found.component == "c2f" and set(found.unvouched) == {"c2f.onnx", "edited.onnx"}
    assert found.localisation.culprits == ("transformer.layers.1.self_attn.fc",)
    with pytest.raises(InputError, match="holds c2f, not coarse"):
        run_request(replace(REQUEST, artifacts=exported, new=edited, component="coarse"))
    with pytest.raises(InputError, match="holds no facts of this tool"):
        run_request(replace(REQUEST, artifacts=sound_c2f["path"], new=edited))
