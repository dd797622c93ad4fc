"""The model card of a version: what a hub shows first, and what says how to use it."""

import json
import shlex
from dataclasses import dataclass

from markupsafe import Markup

from vampnet_onnx.configs.manifest import Manifest
from vampnet_onnx.configs.names import entry_and_form

from .pages import markdown_environment
from .schema import Report
from .summary import printable

# What audio to audio takes, in Python and in the module of web/.
_SHARED = {"audio_processor", "codec_encoder", "codec_decoder", "mask_generator"}
_VAMP = _SHARED | {"sampler", "coarse", "c2f"}
_BROWSER = _SHARED | {"coarse.generator", "c2f.generator"}


@dataclass(frozen=True)
class Licence:
    """The licence of weights.

    Attributes:
        hub: what the hub calls it; ``other`` where it knows it not.
        name: then its identifier at SPDX, and `link` where that is told.
    """

    hub: str
    name: str = ""
    link: str = ""


@dataclass(frozen=True)
class Place:
    """Where a version is published, as lines that are pasted name it.

    Attributes:
        name: what commands and Python take for artifacts.
        address: what JavaScript opens.
    """

    name: str
    address: str


def render_card(manifest: Manifest, report: Report, licence: Licence, place: Place) -> str:
    """Return the card in Markdown, with the hub's metadata in front.

    Args:
        report: of the verification that the version carries.
    """
    made = markdown_environment()
    ids = {record.id for record in manifest.components}
    forms = {entry_and_form(record.variant)[1] for record in manifest.components}
    parts = {part.id: part for part in report.components}
    wholes = [part for part in report.components if part.id not in ids]
    return made.get_template("card.md").render(
        manifest=manifest,
        report=report,
        licence=licence,
        parts=parts,
        wholes=wholes,
        bytes=sum(file.size for file in dict.fromkeys(manifest.files())),
        forms=sorted(filter(None, forms)),
        vamps=ids >= _VAMP,
        plays=ids >= _BROWSER,
        shell=_verbatim(shlex.quote(place.name)),
        python=_verbatim(json.dumps(place.name, ensure_ascii=False)),
        script=_verbatim(json.dumps(place.address, ensure_ascii=False)),
    )


def _verbatim(text: str) -> Markup:
    """Let text stand in a block of code as it is."""
    return Markup(printable(text))
