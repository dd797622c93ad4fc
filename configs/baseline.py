"""The version that a new one is compared with in a CI: the last verified one of a source.

A source is a folder, ``hub:USER/REPO[@REVISION]``, or ``release:TAG/FILE.zip``: a file of a
release on GitHub, with a version, a model or a store in it.
"""

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .artifacts import open_artifacts
from .errors import InputError, said
from .files import file_errors, is_there, publish_folder, staging_folder, temporary_folder
from .github import github
from .manifest import MANIFEST_NAME
from .verification import version_to_use

_RELEASE = "release:"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_TIMES = 100  # deflate packs zeros a thousand times, and weights hardly
_SMALL = 1 << 20  # bytes that do no harm, however they are packed
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,  # a name too long, say, or a file where a folder goes
    ValueError,
    NotImplementedError,
    RuntimeError,
)


def take_baseline(source: str, into: Path) -> Path:
    """Copy the last verified version of a source to a folder, in place of another version.

    Returns:
        The version that was copied.

    Raises:
        InputError: the source has no verified version, or one with a file that its manifest
            does not vouch for; or what is in the folder is no version.
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
        open_artifacts(chosen.folder)  # every file is what the manifest vouches for
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
        unpacked = folder / "unpacked"
        unpacked.mkdir()
        try:
            _unpack(folder / name, unpacked)
            (folder / name).unlink()
            yield unpacked
        except InputError as error:  # a folder that is gone tells nobody anything
            told = (
                str(error).replace(str(unpacked), source).replace(str(folder / name), source)
            )
            raise InputError(told) from error


def _unpack(packed: Path, unpacked: Path) -> None:
    """Unpack an archive; no name in it leads elsewhere, and no more comes than it tells."""
    try:
        with zipfile.ZipFile(packed) as archive:
            entries = archive.infolist()
            others = [e.filename for e in entries if e.compress_type not in _METHODS]
            if others:
                raise InputError(
                    f"{packed}: cannot be unpacked ({others[0]!r} is packed by another method"
                    " than deflate); pack it again"
                )
            size, most = sum(e.file_size for e in entries), packed.stat().st_size * _MOST_TIMES
            if size > most + _SMALL:
                raise InputError(
                    f"{packed}: cannot be unpacked (it would be {size} bytes, more than"
                    f" {_MOST_TIMES} times its own size, and weights pack far less)"
                )
            archive.extractall(unpacked)
    except _DAMAGED as error:
        raise InputError(f"{packed}: cannot be unpacked ({said(error)})") from error
