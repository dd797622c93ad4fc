"""The artifact store: ``<root>/<model>/v<N>/``, immutable versions published in one step.

Exporting the same checkpoint with the same toolchain gives the same manifest and so no new
version.  A stopped run leaves a staging folder at most, never half a version.
"""

from __future__ import annotations

import re
from pathlib import Path

from configs.errors import InputError
from configs.files import file_errors, publish_folder
from configs.manifest import MANIFEST_NAME, Manifest

_VERSION = re.compile(r"v([1-9][0-9]*)")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a staged version."""
    text = manifest.model_dump_json(indent=2) + "\n"
    (folder / MANIFEST_NAME).write_text(text, "utf-8")


def versions(model_folder: Path) -> list[tuple[int, Path]]:
    """Return the versions of a model, oldest first."""
    with file_errors(model_folder):
        found = [
            (int(match[1]), entry)
            for entry in (model_folder.iterdir() if model_folder.is_dir() else ())
            if (match := _VERSION.fullmatch(entry.name)) and entry.is_dir()
        ]
    return sorted(found)


def publish(
    staged: Path, model_folder: Path, *, version: int | None = None
) -> tuple[Path, bool]:
    """Make a staged folder a version of the model.

    Args:
        staged: holds the files and their manifest.
        model_folder: ``<root>/<model>``.
        version: the number it must have; None for the next one.

    Returns:
        The version's folder, and whether it is new: a version with the same manifest that
        exists already is used instead.

    Raises:
        InputError: the version asked for exists with other content.
    """
    manifest = (staged / MANIFEST_NAME).read_bytes()
    existing = versions(model_folder)
    for number, folder in existing:
        same = _manifest_bytes(folder) == manifest
        if same and version in (None, number):
            return folder, False
        if number == version:
            raise InputError(
                f"{folder}: exists with other content; versions are never overwritten."
                " Leave --version out to get the next one"
            )
    number = version or (existing[-1][0] + 1 if existing else 1)
    target = model_folder / f"v{number}"
    publish_folder(staged, target)
    return target, True


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST_NAME
    return path.read_bytes() if path.is_file() else b""
