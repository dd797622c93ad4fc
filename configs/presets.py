"""The presets of the published app, by name: ``presets.toml`` read.

A preset is options of masks and variations under their published names, for whoever lays
other options over them.
"""

from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from .config import validated
from .errors import InputError, nearest
from .packaged import shipped

_FILE = "presets.toml"

_Steps = Annotated[int, Field(ge=0, strict=True)]
_Count = Annotated[int, Field(ge=1, strict=True)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _App(_Table):
    """What the app asks for whatever the preset."""

    sampling_steps: _Count
    batch_size: _Count
    reseed: bool


class _Preset(_Table):
    """What a preset sets; `after_beat_s` where it follows beats."""

    periodic_prompt: _Steps
    upper_codebook_mask: _Steps
    onset_mask_width: _Steps
    dropout: Annotated[float, Field(ge=0, le=1)]
    after_beat_s: Annotated[float | None, Field(gt=0)] = None


class _Presets(_Table):
    app: _App
    presets: dict[str, _Preset]


@cache
def _presets() -> _Presets:
    return validated(_Presets, shipped(_FILE), _FILE)


def preset_names() -> list[str]:
    """Return the names, in the app's order."""
    return list(_presets().presets)


def preset_options(name: str) -> dict[str, Any]:
    """Return all options that a preset and the app around it set.

    Raises:
        InputError: there is none of this name.
    """
    known = preset_names()
    if name not in known:
        raise InputError(
            f"no preset {name!r}{nearest(name, known)}; the app has {', '.join(known)}"
        )
    found = _presets()
    return found.app.model_dump() | found.presets[name].model_dump(exclude_none=True)
