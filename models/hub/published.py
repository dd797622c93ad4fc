"""Getting the published checkpoints, or a fine-tuned pair, from the hub into a folder.

Where they are is said in ``configs/published.toml``.  The folder then holds ``codec.pth``,
``coarse.pth`` and ``c2f.pth``, as `models.open_models` reads them; each file's hash has been
compared with the hub's.  `models.hub.download` does the downloading.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from vampnet_onnx.configs.errors import InputError, nearest

from .download import (
    Progress,
    RemoteFile,
    Repository,
    describe,
    list_paths,
    obtain,
    repository,
)

_NAMED_AT_MOST = 60


@dataclass(frozen=True)
class Published:
    """Where the published files are.

    Attributes:
        repo: the repository's id.
        revision: branch, tag or commit.
        files: component to path in the repository.
        finetuned: component to path, with ``{name}`` for the pair's name.
    """

    repo: str
    revision: str
    files: dict[str, str]
    finetuned: dict[str, str]


@cache
def published() -> Published:
    """Read ``configs/published.toml``."""
    text = (
        resources.files("vampnet_onnx.configs").joinpath("published.toml").read_text("utf-8")
    )
    return Published(**tomllib.loads(text))


def fetch_published(
    out: Path,
    *,
    only: Sequence[str] = (),
    repo: str | None = None,
    revision: str | None = None,
    progress: Progress = lambda *_: None,
) -> list[Path]:
    """Get the published checkpoints into a folder.

    Files that are there with the right hash are not downloaded again; one with other content
    is replaced once the new one is complete; an interrupted download goes on where it stopped.

    Args:
        out: the folder, made if need be.
        only: components to get (codec, coarse, c2f); all if empty.
        repo: repository's id, the published one by default.
        revision: branch, tag or commit of it, the published one by default.
        progress: told name, bytes here and size while a file arrives.

    Returns:
        The files' paths in `out`, codec first.

    Raises:
        InputError: an unknown component, or the hub or the disk refuses, or a hash is wrong.
        EnvironmentLacksError: the hub cannot be reached.
    """
    paths = {name: published().files[name] for name in _components(only)}
    hub = _repository(repo, revision)
    return _fetch(hub, paths, _described(hub, paths), out, progress)


def fetch_finetuned(
    name: str,
    out: Path,
    *,
    only: Sequence[str] = (),
    repo: str | None = None,
    revision: str | None = None,
    progress: Progress = lambda *_: None,
) -> list[Path]:
    """Get a fine-tuned coarse and c2f, and the codec they share, into a folder.

    Args:
        name: the pair's name, one of `finetuned_names`.
        out: the folder, made if need be.
        only: components to get (codec, coarse, c2f); all if empty.
        repo: repository's id, the published one by default.
        revision: branch, tag or commit of it, the published one by default.
        progress: told name, bytes here and size while a file arrives.

    Returns:
        The files' paths in `out`, codec first.

    Raises:
        InputError: no such pair (the names there are listed), or as `fetch_published`.
        EnvironmentLacksError: the hub cannot be reached.
    """
    layout = {k: path.format(name=name) for k, path in published().finetuned.items()}
    paths = {k: layout.get(k, published().files[k]) for k in _components(only)}
    hub = _repository(repo, revision)
    if not re.fullmatch(r"[^/\\]+", name) or set(name) == {"."}:
        raise _no_such_pair(name, hub)
    described = _described(hub, paths)
    if layout.keys() & paths.keys() and not layout.keys() & described.keys():
        raise _no_such_pair(name, hub)
    return _fetch(hub, paths, described, out, progress)


def finetuned_names(*, repo: str | None = None, revision: str | None = None) -> list[str]:
    """List the fine-tuned pairs that a repository holds completely, sorted.

    Raises:
        InputError: the hub refuses.
        EnvironmentLacksError: the hub cannot be reached.
    """
    return _names(_repository(repo, revision))


def _names(hub: Repository) -> list[str]:
    present = list_paths(hub)
    found = []
    for layout in published().finetuned.values():
        before, _, after = layout.partition("{name}")
        pattern = re.compile(re.escape(before) + "([^/]+)" + re.escape(after))
        found.append({match[1] for path in present if (match := pattern.fullmatch(path))})
    return sorted(set.intersection(*found))


def _no_such_pair(name: str, hub: Repository) -> InputError:
    try:
        known = _names(hub)
    except InputError as error:
        return InputError(
            f"{hub.repo} has no fine-tuned pair {name!r}, nor can those it has be listed:"
            f" {error}"
        )
    shown = ", ".join(known[:_NAMED_AT_MOST])
    more = f" and {len(known) - _NAMED_AT_MOST} more" if len(known) > _NAMED_AT_MOST else ""
    return InputError(
        f"{hub.repo} has no fine-tuned pair {name!r}{nearest(name, known)}; it has"
        f" {shown + more or 'none'}"
    )


def _repository(repo: str | None, revision: str | None) -> Repository:
    return repository(repo or published().repo, revision or published().revision)


def _components(only: Sequence[str]) -> list[str]:
    """Return the components asked for, in the published order."""
    known = list(published().files)
    for name in only:
        if name not in known:
            raise InputError(
                f"no component {name!r}{nearest(name, known)}; there are {', '.join(known)}"
            )
    return [name for name in known if not only or name in only]


def _described(hub: Repository, paths: dict[str, str]) -> dict[str, RemoteFile]:
    """Ask for every file before any is downloaded; those the hub lacks are left out."""
    answers = {name: describe(hub, path) for name, path in paths.items()}
    return {name: remote for name, remote in answers.items() if remote is not None}


def _fetch(
    hub: Repository,
    paths: dict[str, str],
    described: dict[str, RemoteFile],
    out: Path,
    progress: Progress,
) -> list[Path]:
    missing = [path for name, path in paths.items() if name not in described]
    if missing:
        raise InputError(
            f"{hub.repo} on {hub.endpoint}: holds no {', '.join(missing)} at revision"
            f" {hub.revision!r}; check repository, revision and HF_ENDPOINT"
        )
    if len({remote.commit for remote in described.values()}) > 1:
        raise InputError(
            f"{hub.repo} on {hub.endpoint}: changed while it was read, so its files may not"
            " fit each other; run the same command again"
        )
    targets = []
    for name in paths:
        target = out / f"{name}.pth"
        obtain(hub, described[name], target, progress)
        targets.append(target)
    return targets
