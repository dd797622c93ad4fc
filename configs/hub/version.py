"""A published version, fetched from a hub into the user's cache.

``hub:USER/REPO`` or ``hub:USER/REPO@REVISION`` stands for a folder wherever artifacts are
opened.  In the cache each commit has a folder; it gets its name only when every file of the
manifest is there with the hash that the manifest and the hub give, and the verification is
that of the manifest.  A commit that is there is never asked for again.
"""

import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import quote, urlsplit

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # not re-exported

from vampnet_onnx.configs.cache import cache_folder
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.files import file_errors, is_there, replacing, sha256
from vampnet_onnx.configs.manifest import MANIFEST_NAME, FileRecord
from vampnet_onnx.configs.store import HUB, read_manifest
from vampnet_onnx.configs.text import has_control
from vampnet_onnx.configs.verification import VERIFICATION_NAME, read_verification

from .download import COMMIT, Progress, RemoteFile, Repository, describe, obtain, repository

_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@(.+))?", re.ASCII)
_SHA256_LENGTH = 64
_MAIN = "main"


def repository_of(name: str | Path) -> Repository:
    """Return the repository that ``hub:USER/REPO[@REVISION]`` names.

    Raises:
        InputError: it is written otherwise.
    """
    text = name.as_posix() if isinstance(name, Path) else name
    found = _NAME.fullmatch(text.removeprefix(HUB))
    if found is None or not (found[2] or _MAIN).strip("."):  # no revision, but a path
        raise InputError(
            f"{text}: write {HUB}USER/REPO, or {HUB}USER/REPO@REVISION for a branch, tag or"
            " commit of it"
        )
    return repository(found[1], found[2] or _MAIN)


def fetched_version(name: str | Path, progress: Progress = lambda *_: None) -> Path:
    """Return the folder of a version on a hub, fetched if it is not in the cache.

    A branch or tag is looked up on the hub each time, but where ``HF_HUB_OFFLINE`` is set:
    then it is what it was when it was last fetched.  What a stopped run left is gone on with.

    Args:
        name: ``hub:USER/REPO`` or ``hub:USER/REPO@REVISION``; ``main`` if left out.
        progress: told name, bytes here and size while a file arrives.

    Raises:
        InputError: there is no such repository or revision, it holds no verified version, or
            a file is another than its manifest says.
        EnvironmentLacksError: the hub cannot be reached.
    """
    hub = repository_of(name)
    place = urlsplit(hub.endpoint)
    home = cache_folder() / "hub" / quote(place.netloc + place.path, safe="") / hub.repo
    last = home / "revisions" / quote(hub.revision, safe="")
    pinned = COMMIT.fullmatch(hub.revision) is not None
    commit = hub.revision if pinned else _commit_of(hub, last)
    folder = home / commit
    with file_errors(home):
        if not is_there(folder):
            home.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(home / ".lock"):  # of two runs one fetches
                if not is_there(folder):
                    _fetch(replace(hub, revision=commit), folder, progress)
    if not pinned and _remembered(last) != commit:
        with replacing(last) as temporary:
            temporary.write_text(commit, "ascii")
    return folder


def _commit_of(hub: Repository, last: Path) -> str:
    """Return the commit that a branch or tag means.

    Args:
        last: file that holds the one it meant when it was last fetched.
    """
    known = _remembered(last)
    if constants.HF_HUB_OFFLINE and known:
        return known
    try:
        return _described(hub, MANIFEST_NAME).commit
    except EnvironmentLacksError as error:
        if not known:
            raise
        raise EnvironmentLacksError(
            f"{error}. What was fetched of it before is used as {HUB}{hub.repo}@{known}, or"
            " with HF_HUB_OFFLINE=1"
        ) from error


def _remembered(last: Path) -> str:
    if not is_there(last):
        return ""
    found = last.read_text("ascii", "replace")
    if not COMMIT.fullmatch(found):  # it becomes the name of a folder
        raise InputError(f"{last}: names no commit; remove it, and the hub is asked again")
    return found


def _fetch(hub: Repository, folder: Path, progress: Progress) -> None:
    """Make the folder of a commit; until it is whole it has another name."""
    work = folder.with_name(f"{folder.name}.part")
    for name in (MANIFEST_NAME, VERIFICATION_NAME):
        obtain(hub, _described(hub, name), work / name, progress)
    if read_verification(work) is None:
        raise InputError(
            f"{_named(hub)}: its {VERIFICATION_NAME} is not of its {MANIFEST_NAME}, so nobody"
            " says that it was verified; ask who published it, or download its files and"
            " verify them"
        )
    records = dict.fromkeys(read_manifest(work).files())
    for record in records:
        _require_name(hub, record.name)
    remote = {record: _vouched(hub, record) for record in records}
    _require_room(work, records)
    for record, there in remote.items():
        obtain(hub, there, work / record.name, progress)
        # What the hub hashed otherwise is held to the manifest here.
        if there.digest != record.sha256:
            found = sha256(work / record.name)
            if found != record.sha256:
                (work / record.name).unlink()
                raise _other_content(hub, record, found)
    work.rename(folder)


def _described(hub: Repository, path: str) -> RemoteFile:
    found = describe(hub, path)
    if found is None:
        raise InputError(
            f"{_named(hub)}: holds no {path}, so it is no version that publish laid out"
        )
    return found


def _require_name(hub: Repository, name: str) -> None:
    """Refuse what is a path to any system, on every one, and what cannot be shown."""
    names = {PurePosixPath(name).name, PureWindowsPath(name).name}
    if names != {name} or not name.strip(".") or has_control(name):
        raise InputError(
            f"{_named(hub)}: its {MANIFEST_NAME} lists {name!r}, which is a path or has"
            " control characters; nothing is written there"
        )


def _vouched(hub: Repository, record: FileRecord) -> RemoteFile:
    """Return what the hub says of a file of a manifest, if that is what the manifest says."""
    found = _described(hub, record.name)
    if len(found.digest) == _SHA256_LENGTH and found.digest != record.sha256:
        raise _other_content(hub, record, found.digest)
    return found


def _other_content(hub: Repository, record: FileRecord, found: str) -> InputError:
    return InputError(
        f"{_named(hub)}: {record.name} is not what its {MANIFEST_NAME} vouches for: sha256"
        f" {record.sha256} expected, {found} found. It is not used; name an earlier revision,"
        " or ask who published it to publish it again"
    )


def _require_room(work: Path, records: Iterable[FileRecord]) -> None:
    needed = sum(record.size for record in records if not is_there(work / record.name))
    free = shutil.disk_usage(work).free
    if needed > free:
        raise InputError(
            f"{work}: {needed} bytes are to come, but the disk has only {free} free; free"
            " some, or set VAMPNET_ONNX_CACHE to a folder on another disk"
        )


def _named(hub: Repository) -> str:
    return f"{HUB}{hub.repo}@{hub.revision} on {hub.endpoint}"
