"""The presets of the app: complete, by its names, and options that there are."""

from __future__ import annotations

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.presets import preset_names, preset_options
from vampnet_onnx.configs.settings import (
    BeatSettings,
    GenerationSettings,
    MaskSettings,
    VampSettings,
    generation_settings,
    mask_settings,
    published_options,
    vamp_settings,
)

# periodic prompt, upper codebook mask, dropout, milliseconds from a beat on: app.py.
OF_THE_APP = {
    "timbre transfer": (2, 1, 0.0, None),
    "small variation": (5, 4, 0.0, None),
    "small variation (follow beat)": (7, 4, 0.0, 50),
    "medium variation": (7, 4, 0.0, None),
    "medium variation (follow beat)": (13, 4, 0.0, 50),
    "large variation": (13, 4, 0.2, None),
    "large variation (follow beat)": (0, 4, 0.0, 80),
    "unconditional": (0, 1, 0.0, None),
}


def test_all_presets_of_the_app_are_there_in_its_order() -> None:
    assert preset_names() == list(OF_THE_APP)


@pytest.mark.parametrize("name", OF_THE_APP)
def test_a_preset_sets_what_it_sets_in_the_app(name: str) -> None:
    period, upper, dropout, beat_ms = OF_THE_APP[name]
    found = preset_options(name)
    mask = {"periodic_prompt": period, "upper_codebook_mask": upper, "dropout": dropout}
    around = {} if beat_ms is None else {"after_beat_s": beat_ms / 1000}
    app = {"sampling_steps": 36, "batch_size": 2, "reseed": True, "onset_mask_width": 0}
    assert found == {**mask, **around, **app}
    groups = (MaskSettings, BeatSettings, GenerationSettings, VampSettings)
    assert set(found) <= {option for kind in groups for option in published_options(kind)}


def test_presets_are_taken_by_the_functions_for_settings() -> None:
    found = preset_options("large variation")
    pick = {kind: found.keys() & set(published_options(kind)) for kind in (MaskSettings,)}
    chosen = mask_settings(**{name: found[name] for name in pick[MaskSettings]})
    assert (chosen.periodic_prompt, chosen.dropout) == (13, 0.2)
    assert generation_settings(sampling_steps=found["sampling_steps"]).steps == 36
    assert vamp_settings(reseed=found["reseed"], batch_size=found["batch_size"]).reseed


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'medium' .*'medium variation'.*unconditional"):
        preset_options("medium")
