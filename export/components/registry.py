"""The table of components: which there are, in which variants, and how each one is made.

Every module of this folder that describes components lists them in its ``EXPORTERS``, and is
found by itself; nothing else names them all.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import CODEC, GENERATOR, TRACKER, entry_and_form
from vampnet_onnx.export import components
from vampnet_onnx.models import (
    LAC,
    CodecDims,
    ModelSet,
    TrackerDims,
    VampNet,
    VampNetDims,
    WaveBeat,
)

from .component import Component, Exporter, Structure, TracedComponent


def _found() -> list[Exporter]:
    names = sorted(item.name for item in pkgutil.iter_modules(components.__path__))
    names.remove("registry")
    modules = [importlib.import_module(f"{components.__name__}.{name}") for name in names]
    found = [one for module in modules for one in getattr(module, "EXPORTERS", ())]
    return sorted(found, key=lambda one: (one.place, one.name))


_TABLE = {exporter.name: exporter for exporter in _found()}

COMPONENTS = tuple(_TABLE)
"""Names, in the order in which components are exported and listed."""


def required_checkpoint(name: str) -> tuple[str, ...]:
    """Return what a component is made from besides the codec, as files are called."""
    needed = _TABLE[name].checkpoint
    return () if needed == CODEC else (needed,)


def available(present: Sequence[str]) -> list[str]:
    """Return the components that can be made from the checkpoints present."""
    return [name for name, exporter in _TABLE.items() if exporter.checkpoint in present]


def variants(
    name: str, *, inputs: Sequence[str], rates: Sequence[int] | None, dims: CodecDims | None
) -> list[str]:
    """Return the variants of a component to export, empty for the standard one.

    What they are chosen by is said with `Exporter`.
    """
    return _TABLE[name].variants(inputs, rates, dims)


def is_known(name: str, variant: str) -> bool:
    """Return whether there is such a component with such a variant."""
    return name in _TABLE and _TABLE[name].is_variant(variant)


def require_known(record: ComponentRecord, place: Path) -> None:
    """Refuse a component that there is not.

    Args:
        place: what says that there is, a file or a folder.

    Raises:
        InputError: there is none of this name and variant.
    """
    if not is_known(record.name, record.variant):
        raise InputError(f"{place}: holds {record.id!r}, which this version does not know")


def build_component(name: str, models: ModelSet, *, variant: str = "") -> Component:
    """Prepare one component for export.

    Its module shares tensors with the models but none of their structure, so passes leave the
    models as they are.

    Raises:
        InputError: the checkpoints it is made from are not there.
    """
    return _TABLE[name].build(models, variant)


def structure_of(
    name: str,
    variant: str,
    codec: CodecDims | None,
    transformers: Mapping[str, VampNetDims],
    tracker: TrackerDims | None = None,
) -> Structure | None:
    """Return what a component's graph depends on; None where it is built, not traced."""
    if not _TABLE[name].is_traced:
        return None
    entry, _ = entry_and_form(variant)  # a form is made of the same graph, and so is
    entry = "" if entry == GENERATOR else entry  # what is built around it
    own = tracker if _TABLE[name].checkpoint == TRACKER else None
    return Structure(name, entry, None if own else codec, transformers.get(name), own)


def component_of(
    structure: Structure,
    codec: LAC | None,
    transformer: VampNet | None,
    tracker: WaveBeat | None = None,
) -> TracedComponent:
    """Prepare a component of networks of one's own; there need be no files of them."""
    models = {} if transformer is None else {structure.name: transformer}
    own = ModelSet(Path(), codec, models, tracker=tracker)
    made = _TABLE[structure.name].build(own, structure.variant)
    assert isinstance(made, TracedComponent), structure
    return made
