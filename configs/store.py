"""The artifact store: ``<root>/<model>/v<N>/``, immutable versions published in one step.

Exporting the same checkpoint with the same toolchain gives the same manifest and so no new
version.  A stopped run leaves a staging folder at most, never half a version.  Of runs that
publish at the same time, each makes a version of its own, or finds that of another.
"""

import contextlib
import re
from pathlib import Path

from pydantic import ValidationError

from .config import first_problem
from .errors import InputError
from .files import TakenError, file_errors, is_there, publish_folder, sha256
from .manifest import MANIFEST_NAME, SCHEMA_VERSION, Manifest

VERSION = re.compile(r"v([1-9][0-9]*)")
HUB = "hub:"  # begins the name of a version on a hub


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of a staged version."""
    text = manifest.model_dump_json(indent=2) + "\n"
    (folder / MANIFEST_NAME).write_text(text, "utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a version.

    Raises:
        InputError: it is not one that this version of ours can read.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{path}: not a manifest this version can read ({first_problem(error)})"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: manifest schema {manifest.schema_version}, this version reads"
            f" {SCHEMA_VERSION}; export again"
        )
    return manifest


def model_folder_in(root: Path, model: str) -> Path:
    """Return where versions of a model go in a store.

    Raises:
        InputError: the store is named as what is on a hub is, where nothing is exported to.
    """
    if str(root).startswith(HUB):
        raise InputError(
            f"{root}: is on a hub; export into a folder, verify, and then: publish --to {root}"
        )
    return root / model


def versions(model_folder: Path) -> list[tuple[int, Path]]:
    """Return the versions of a model, oldest first."""
    with file_errors(model_folder):
        found = [
            (int(match[1]), entry)
            for entry in (model_folder.iterdir() if model_folder.is_dir() else ())
            if (match := VERSION.fullmatch(entry.name)) and entry.is_dir()
        ]
    return sorted(found)


def find_version(path: Path) -> Path:
    """Return the version folder that a version's, model's or store's path means.

    That of ``hub:USER/REPO[@REVISION]`` is in the user's cache, fetched if need be.

    Raises:
        InputError: there is none, or a store holds several models.
        EnvironmentLacksError: the hub cannot be reached.
    """
    if str(path).startswith(HUB):
        from .hub.version import fetched_version

        return fetched_version(path)
    if not is_there(path) or not path.is_dir():
        raise InputError(f"{path}: no such folder of artifacts")
    if (path / MANIFEST_NAME).is_file():
        return path
    newest = _newest(path)
    if newest is not None:
        return newest
    with file_errors(path):
        inside = {e.name: _newest(e) for e in sorted(path.iterdir()) if e.is_dir()}
    models = {name: version for name, version in inside.items() if version is not None}
    if len(models) == 1:
        return next(iter(models.values()))
    if models:
        raise InputError(
            f"{path}: holds several models ({', '.join(models)}); name one of them"
        )
    raise InputError(f"{path}: holds no artifact version (no {MANIFEST_NAME})")


def publish(
    staged: Path, model_folder: Path, *, version: int | None = None
) -> tuple[Path, bool]:
    """Make a staged folder a version of the model.

    Args:
        version: the number it must have; None for the next one.

    Returns:
        The version's folder, and whether it is new: a whole version with the same files that
        exists already is used instead.

    Raises:
        InputError: the version asked for exists with other content, or something else is in
            its place.
    """
    while True:
        target, new = place_for(staged, model_folder, version=version)
        if not new:
            return target, False
        with contextlib.suppress(TakenError):  # another run was faster; look again
            publish_folder(staged, target)
            return target, True


def place_for(
    staged: Path, model_folder: Path, *, version: int | None = None
) -> tuple[Path, bool]:
    """Return where a staged folder belongs, as `publish` does, without moving it.

    Raises:
        InputError: the version asked for exists with other content, or something else is in
            its place.
    """
    manifest = read_manifest(staged)
    existing = versions(model_folder)
    for number, folder in existing:
        if version in (None, number) and _serves_for(folder, manifest):
            return folder, False
        if number == version:
            raise InputError(
                f"{folder}: exists with other content; versions are never overwritten."
                " Leave --version out to get the next one"
            )
    number = version or (existing[-1][0] + 1 if existing else 1)
    target = model_folder / f"v{number}"
    if is_there(target) and not target.is_dir():
        raise InputError(f"{target}: is in the way and is never overwritten; move it")
    return target, True


def version_number(folder: Path) -> int:
    """Return the number of a version's folder.

    Raises:
        InputError: its name is none of a version.
    """
    match = VERSION.fullmatch(folder.name)
    if match is None:
        raise InputError(f"{folder}: is no version of a model, such as v1")
    return int(match[1])


def _serves_for(folder: Path, wanted: Manifest) -> bool:
    """Whether a version is whole and holds what another would.

    Gates, which earlier versions of ours wrote into manifests, do not count; nor does it
    matter by which source of ours the same files were made: it is one version, and says of the
    source that made it first.
    """
    try:
        found = read_manifest(folder)
    except InputError:
        return False  # damaged, so it serves for nothing
    apart = {"gates": (), "source": ""}
    if found.model_copy(update=apart) != wanted.model_copy(update=apart):
        return False
    files = [(folder / record.name, record.sha256) for record in found.files()]
    return all(path.is_file() and sha256(path) == digest for path, digest in files)


def _newest(model_folder: Path) -> Path | None:
    found = [
        folder for _, folder in versions(model_folder) if (folder / MANIFEST_NAME).is_file()
    ]
    return found[-1] if found else None
