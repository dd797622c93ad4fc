"""Files of one hub repository: what the hub says of them, and getting them intact.

Built on huggingface_hub for addresses, credentials, sessions and errors.  Its own
``hf_hub_download`` is not used for the bytes: it throws a partial file away when a download
fails, holds up to ten megabytes in memory that a cut connection loses, and compares sizes
but not hashes.  A checkpoint can exceed a gigabyte, so here a download goes on where the last
run stopped, whatever stopped it, and a file gets its name only after its hash is right.
"""

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import HfApi, constants, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented, not re-exported
    build_hf_headers,
    hf_raise_for_status,
)

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError

Progress = Callable[[str, int, int], None]
"""Told a file's name, the bytes of it that are here, and its size in bytes."""

# The library stands on httpx, later on httpx2; its own error derives from the one in use.
_http = import_module(HfHubHTTPError.__bases__[0].__module__.partition(".")[0])

# Seconds to wait before each further attempt while nothing arrives; any new byte starts over.
_PAUSES: tuple[float, ...] = (1, 2, 4, 8)
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)
_CHANGED_STATUS = (409, 412)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_THE_FILE = ("RepoNotFound", "RevisionNotFound")
_SHA256 = re.compile(r"[0-9a-f]{64}")
COMMIT = re.compile(r"[0-9a-f]{40}")
_GIT_SHA1 = COMMIT


@dataclass(frozen=True)
class Repository:
    """A model repository (``owner/name``) on a hub, at one branch, tag or commit."""

    repo: str
    revision: str
    endpoint: str


@dataclass(frozen=True)
class RemoteFile:
    """What the hub says of a file at a commit.

    The size is in bytes, the digest a large file's SHA-256 or a small one's git SHA-1.
    """

    path: str
    url: str
    size: int
    digest: str
    commit: str


def repository(repo: str, revision: str) -> Repository:
    """Name a repository on the hub that ``HF_ENDPOINT`` names *now*.

    The library reads the variable once, when it is imported.

    Raises:
        InputError: ``HF_ENDPOINT`` is not an address.
    """
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(
            f"HF_ENDPOINT={endpoint!r} is not an address such as http://host:port;"
            " correct it, or unset it to use the public hub"
        )
    return Repository(repo, revision, endpoint)


def describe(hub: Repository, path: str) -> RemoteFile | None:
    """Ask the hub for size and hash of a file; nothing if the repository does not hold it.

    Raises:
        InputError: the hub refuses, or says too little to check the file.
        EnvironmentLacksError: the hub cannot be reached.
    """
    with explained(hub):
        url = hf_hub_url(hub.repo, path, revision=hub.revision, endpoint=hub.endpoint)
        try:
            about = HfApi(endpoint=hub.endpoint).get_hf_file_metadata(url=url)
        except HfHubHTTPError as error:
            code = error.response.headers.get("X-Error-Code")
            if error.response.status_code != 404 or code in _NOT_THE_FILE:
                raise
            return None
    commit = about.commit_hash or ""
    if not COMMIT.fullmatch(commit):  # it becomes the name of a folder
        found = f"{commit[:80]!r} as the commit" if commit else "no commit"
        raise InputError(
            f"{hub.endpoint}: answers, but not as a model hub does ({found} for {path});"
            " check HF_ENDPOINT, and that no proxy or sign-in page stands in between"
        )
    digest = about.etag or ""
    if about.size is None or not (_SHA256.fullmatch(digest) or _GIT_SHA1.fullmatch(digest)):
        raise InputError(
            f"{hub.endpoint}: gives no size or no usable hash for {path} of {hub.repo}, so the"
            f" file could not be checked (size {about.size}, hash {digest!r}); use a hub that"
            " gives both"
        )
    return RemoteFile(path, url, about.size, digest, commit)


def list_paths(hub: Repository) -> list[str]:
    """Return the paths of all files of a repository.

    Raises:
        InputError: the hub refuses.
        EnvironmentLacksError: the hub cannot be reached.
    """
    with explained(hub):
        return HfApi(endpoint=hub.endpoint).list_repo_files(hub.repo, revision=hub.revision)


def obtain(hub: Repository, remote: RemoteFile, target: Path, progress: Progress) -> None:
    """Make `target` the remote file, downloading only what is missing.

    A target that has the hash already stays as it is; one with other content is replaced
    once the new content is complete.  A partial download waits beside it under a hidden name
    that carries the hash, so that no other version is ever continued.

    Raises:
        InputError: the content does not match its hash, or the disk refuses it.
        EnvironmentLacksError: the hub cannot be reached, or is lost on the way.
    """
    with explained(hub, target):
        if target.exists() and not target.is_file():
            raise InputError(f"{target}: not a file, so no checkpoint can be written there")
        if target.exists() and digest_of(target, like=remote.digest) == remote.digest:
            progress(target.name, remote.size, remote.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{remote.digest[:16]}.part")
        if part.exists() and part.stat().st_size > remote.size:
            part.unlink()
        _require_room(part, remote, target)
        part.touch()
        try:
            _download(remote, part, lambda done: progress(target.name, done, remote.size))
        except OSError as error:
            if error.errno in _FULL:
                part.unlink()
            raise
        actual = digest_of(part, like=remote.digest)
        if actual != remote.digest:
            part.unlink()
            raise InputError(
                f"{target}: what arrived does not match the hash the hub gives for"
                f" {remote.path}: expected {remote.digest}, got {actual}. It was deleted; run"
                " the same command again, and if it fails again, suspect the hub or a proxy"
            )
        part.replace(target)
        for stale in target.parent.glob(f".{target.name}.*.part"):
            stale.unlink()


def _download(remote: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
    """Append to `part` until it is complete, over as many connections as that takes."""
    most, failures = part.stat().st_size, 0
    while part.stat().st_size < remote.size:
        lost: BaseException | None = None
        try:
            _append(remote, part, progress)
        except HfHubHTTPError as error:
            if error.response.status_code not in _PASSING_STATUS:
                raise
            lost = error
        except _http.HTTPError as error:
            lost = error
        size = part.stat().st_size
        failures = 0 if size > most else failures + 1
        most = max(most, size)
        if failures > len(_PAUSES):
            raise EnvironmentLacksError(
                f"{urlsplit(remote.url).netloc}: the connection is lost after {size} of"
                f" {remote.size} bytes of {remote.path} ({_first_line(lost)}). They are kept:"
                " run the same command again to go on from there"
            ) from lost
        if failures:
            time.sleep(_PAUSES[failures - 1])
    progress(part.stat().st_size)


def _append(remote: RemoteFile, part: Path, progress: Callable[[int], None]) -> None:
    """Ask for the bytes that `part` lacks and write them as they come.

    Two runs at once in one folder cannot mix: both write the same bytes at the same places.
    """
    # Compressed content would make the offsets of two connections differ.
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    done = part.stat().st_size
    if done:
        headers["Range"] = f"bytes={done}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with (
        part.open("r+b") as stream,
        get_session().stream("GET", remote.url, headers=headers, timeout=timeout) as response,
    ):
        hf_raise_for_status(response)
        if done and response.status_code != 206:
            done = 0  # the server ignores ranges and starts at the beginning
            stream.truncate(0)
        stream.seek(done)
        progress(done)
        for chunk in response.iter_bytes():
            stream.write(chunk)
            done += len(chunk)
            progress(done)
        stream.flush()
        os.fsync(stream.fileno())


def digest_of(path: Path, *, like: str) -> str:
    """Hash a file in the manner of a hash the hub gave, told by its length."""
    with path.open("rb") as stream:
        if _SHA256.fullmatch(like):
            return hashlib.file_digest(stream, "sha256").hexdigest()
        blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
        while chunk := stream.read(1 << 20):
            blob.update(chunk)
        return blob.hexdigest()


def _require_room(part: Path, remote: RemoteFile, target: Path) -> None:
    needed = remote.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise InputError(
            f"{target}: {needed} bytes are still to come, but the disk has only {free} free;"
            " free some or choose another folder"
        )


@contextmanager
def explained(hub: Repository, target: Path | None = None) -> Iterator[None]:
    """Turn what the library and the disk raise into one line that says what to do."""
    try:
        yield
    except HFValidationError as error:
        raise InputError(f"{hub.repo!r} is not a repository's id: {error}") from error
    except OfflineModeIsEnabled as error:
        raise EnvironmentLacksError(
            "the hub may not be asked: HF_HUB_OFFLINE is set; unset it and run again"
        ) from error
    except HfHubHTTPError as error:
        raise _refusal(hub, error) from error
    except _http.HTTPError as error:
        raise EnvironmentLacksError(
            f"{hub.endpoint}: cannot be reached ({_first_line(error)}); check the network, the"
            " proxy settings and HF_ENDPOINT, then run the same command again"
        ) from error
    except (_http.InvalidURL, UnicodeError) as error:
        raise InputError(
            f"{hub.endpoint!r}: HF_ENDPOINT or HF_TOKEN cannot be used ({error}); correct it"
        ) from error
    except OSError as error:
        raise _disk_refusal(target, error) from error


def _refusal(hub: Repository, error: HfHubHTTPError) -> InputError | EnvironmentLacksError:
    status = error.response.status_code
    code = error.response.headers.get("X-Error-Code", "")
    kind: type[InputError] | type[EnvironmentLacksError] = InputError
    if code == "RevisionNotFound":
        what = f"has no revision {hub.revision!r}; name a branch, tag or commit of it"
    elif code == "GatedRepo" or status == 403:
        what = (
            f"may not be read, or written (HTTP {status}); accept its terms on the hub, and"
            " set HF_TOKEN to a token that may"
        )
    elif status in _CHANGED_STATUS:
        what = f"was changed meanwhile (HTTP {status}); run the same command again"
    elif status == 401:
        what = (
            "does not exist, or asks for a sign-in (HTTP 401); check the name, and"
            " set HF_TOKEN to a valid token or run 'hf auth login'"
        )
    elif status == 404:
        what = "not found (HTTP 404); check the repository's name and HF_ENDPOINT"
    elif status in _PASSING_STATUS:
        kind = EnvironmentLacksError
        what = f"the hub is busy or down (HTTP {status}); run the same command again later"
    else:
        what = f"the hub refuses (HTTP {status}); check HF_ENDPOINT"
    return kind(f"{hub.repo} on {hub.endpoint}: {what}")


def _disk_refusal(target: Path | None, error: OSError) -> InputError:
    where = target or error.filename or "the hub's credentials"
    if error.errno in _FULL:
        return InputError(
            f"{where}: the disk is full ({error.strerror}); nothing half-written was left."
            " Free some space or choose another folder"
        )
    return InputError(
        f"{where}: cannot be read or written ({error.strerror or error}); choose a folder you"
        " may write to"
    )


def _first_line(error: BaseException | None) -> str:
    """Say what a transport error says, or what a connection that just ends means."""
    if error is None:
        return "it closes early"
    return (str(error) or type(error).__name__).splitlines()[0]
