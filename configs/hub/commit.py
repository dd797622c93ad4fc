"""What a branch of a hub repository holds, and a commit on top of it.

Files that are there already are for the caller to leave out: `Branch.holds`.  Large files are
sent one by one before the commit, so that a run that is stopped sends them once.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented, not re-exported
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, said

from .download import COMMIT, Progress, Repository, digest_of, explained


@dataclass(frozen=True)
class Branch:
    """What a branch held when it was asked.

    Attributes:
        digests: SHA-256 of a large file, git's SHA-1 of a small one, by path.
    """

    hub: Repository
    commit: str
    digests: dict[str, str]

    def holds(self, path: str, file: Path) -> bool:
        """Return whether a file is there with the content of a local one."""
        there = self.digests.get(path)
        return there is not None and digest_of(file, like=there) == there


def branch_of(hub: Repository) -> Branch:
    """Ask a hub what a branch holds.

    Raises:
        InputError: there is no such repository or branch, or the hub refuses.
        EnvironmentLacksError: the hub cannot be reached.
    """
    with explained(hub):
        about = HfApi(endpoint=hub.endpoint).model_info(
            hub.repo, revision=hub.revision, files_metadata=True
        )
    commit = about.sha or ""
    if not COMMIT.fullmatch(commit) or about.siblings is None:
        raise InputError(f"{hub.endpoint}: answers, but not as a model hub; check HF_ENDPOINT")
    digests = {
        file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id)
        for file in about.siblings
    }
    return Branch(hub, commit, digests)


def commit_files(
    branch: Branch,
    files: Mapping[str, Path],
    gone: Iterable[str],
    message: str,
    progress: Progress,
) -> str:
    """Make one commit: files by their path there, and paths that go.

    Returns:
        The commit.

    Raises:
        InputError: the hub refuses, or the branch has changed since it was asked.
        EnvironmentLacksError: the hub cannot be reached, or is lost on the way.
    """
    hub = branch.hub
    api = HfApi(endpoint=hub.endpoint)
    added = []
    with explained(hub), _told(hub), _without_bars():
        for path, file in files.items():
            size = file.stat().st_size
            progress(path, 0, size)
            added.append(CommitOperationAdd(path, str(file)))
            api.preupload_lfs_files(hub.repo, added[-1:], revision=hub.revision)
            progress(path, size, size)
        made = api.create_commit(
            hub.repo,
            [*added, *map(CommitOperationDelete, gone)],
            commit_message=message,
            revision=hub.revision,
            parent_commit=branch.commit,
        )
    return made.oid


@contextmanager
def _told(hub: Repository) -> Iterator[None]:
    """Turn what the library raises of an upload into one line."""
    try:
        yield
    except RuntimeError as error:  # of a file, whatever happened to it
        if isinstance(error.__cause__, HfHubHTTPError):
            raise error.__cause__ from error
        raise EnvironmentLacksError(
            f"{hub.repo} on {hub.endpoint}: sending ended ({said(error)}); nothing is"
            " published. Run the same command again: large files that arrived are not sent"
            " again"
        ) from error
    except ValueError as error:  # an answer that is none, or metadata that it does not take
        raise InputError(f"{hub.repo} on {hub.endpoint}: refuses ({said(error)})") from error


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the library from drawing its own progress."""
    drawn = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if drawn:
            enable_progress_bars()
