"""The table of subjects: every module of this room is asked for its own."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from vampnet_onnx.configs.manifest import ComponentRecord, Manifest

from .case import Subject


def _found() -> Iterator[Subject]:
    room = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(import_module(room).__path__, f"{room}."):
        if module.name != __name__:
            yield from getattr(import_module(module.name), "SUBJECTS", ())


SUBJECTS: tuple[Subject, ...] = tuple(_found())
_BY_NAME = {name: subject for subject in SUBJECTS for name in subject.names}


def subject_of(record: ComponentRecord | str) -> Subject:
    """Return the subject of a component, by its record or its name without variant.

    Where a variant has a subject of its own, its record is of that.
    """
    if isinstance(record, str):
        return _BY_NAME[record]
    return _BY_NAME.get(record.id) or _BY_NAME[record.name]


def records_of(manifest: Manifest) -> list[ComponentRecord]:
    """Return what there is to verify: every component, and every whole they make up."""
    wholes = (subject.whole(manifest) for subject in SUBJECTS)
    return [*manifest.components, *(whole for whole in wholes if whole is not None)]


def missing_wholes(manifest: Manifest) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the wholes that cannot be verified for want of a part, and what they need."""
    for subject in SUBJECTS:
        if subject.needs and subject.wanted(manifest) and subject.whole(manifest) is None:
            yield subject.names[0], subject.needs
