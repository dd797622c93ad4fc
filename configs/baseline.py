"""The version that a new one is compared with in a CI: the last verified one of a source.

A source is a folder, ``hub:USER/REPO[@REVISION]``, or ``release:TAG/FILE.zip``: a file of a
release on GitHub, with a version, a model or a store in it.
"""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError, said
from .files import file_errors, is_there, publish_folder, staging_folder, temporary_folder
from .github import github
from .manifest import MANIFEST_NAME
from .verification import version_to_use

_RELEASE = "release:"


def take_baseline(source: str, into: Path) -> Path:
    """Copy the last verified version of a source to a folder, in place of another version.

    Returns:
        The version that was copied.

    Raises:
        InputError: the source has no verified version, or what is in the folder is no version.
        EnvironmentLacksError: where it is cannot be reached.
    """
    if is_there(into) and not (into / MANIFEST_NAME).is_file():
        raise InputError(f"{into}: is there, and no version to replace; name another folder")
    with _folder_of(source) as folder, staging_folder(into.parent) as staging:
        chosen = version_to_use(folder)
        if not chosen.verified:
            raise InputError(
                f"{source}: has no verified version ({chosen.folder.name} has no"
                " verification.json): verify one over the whole default matrix first"
            )
        with file_errors(into):
            fresh, old = staging / "fresh", staging / "old"
            shutil.copytree(chosen.folder, fresh)
            if is_there(into):
                into.rename(old)
        publish_folder(fresh, into)
        return chosen.folder


@contextmanager
def _folder_of(source: str) -> Iterator[Path]:
    """Give the folder that a source is, or that it becomes for a while."""
    if not source.startswith(_RELEASE):
        yield Path(source)
        return
    tag, _, name = source.removeprefix(_RELEASE).rpartition("/")
    if not tag or not name.endswith(".zip"):
        raise InputError(f"{source}: write {_RELEASE}TAG/FILE.zip; TAG may be latest")
    with temporary_folder() as folder:
        github().asset(tag, name, folder / name)
        try:
            with zipfile.ZipFile(folder / name) as archive:  # no name in it leads elsewhere
                archive.extractall(folder / "unpacked")
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise InputError(f"{source}: cannot be unpacked ({said(error)})") from error
        (folder / name).unlink()
        yield folder / "unpacked"
