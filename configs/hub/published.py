"""Getting the published checkpoints, or a fine-tuned pair, from the hub into a folder.

Where they are is said in ``configs/published.toml``.  The folder then holds ``codec.pth``,
``coarse.pth`` and ``c2f.pth``, and ``wavebeat.pth`` where it was asked for, as
`models.Checkpoints` reads them; each file's hash has been compared with the hub's.
`configs.hub.download` does the downloading.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vampnet_onnx.configs.errors import InputError, nearest
from vampnet_onnx.configs.names import CODEC, TRACKER, TRANSFORMERS
from vampnet_onnx.configs.packaged import shipped

from .download import Progress, Repository, describe, list_paths, obtain, repository

_NAMED_AT_MOST = 60


@dataclass(frozen=True)
class Published:
    """Where the published files are, by component; ``{name}`` stands for a pair's name."""

    repo: str
    revision: str
    files: dict[str, str]
    finetuned: dict[str, str]


@cache
def published() -> Published:
    """Read ``configs/published.toml``."""
    return Published(**shipped("published.toml"))


def fetch_published(
    out: Path,
    *,
    finetuned: str | None = None,
    only: Sequence[str] = (),
    beats: bool = False,
    repo: str | None = None,
    revision: str | None = None,
    progress: Progress = lambda *_: None,
) -> list[Path]:
    """Get the published checkpoints into a folder, made if need be.

    Files that are there with the right hash are not downloaded again; one with other content
    is replaced once the new one is complete; an interrupted download goes on where it stopped.

    Args:
        finetuned: name of a fine-tuned pair to get, with the codec.
        only: components to get; all but the beat tracker if empty.
        beats: get the beat tracker, too.
        repo: another repository's id than the published one.
        revision: another branch, tag or commit than the published one.
        progress: told name, bytes here and size while a file arrives.

    Returns:
        The files' paths in `out`, codec first.

    Raises:
        InputError: an unknown component, no such pair (those there are get listed), or the
            hub or the disk refuses, or a hash is wrong.
        EnvironmentLacksError: the hub cannot be reached.
    """
    pair = {} if finetuned is None else published().finetuned
    paths = {
        component: pair.get(component, published().files[component]).format(name=finetuned)
        for component in _components(only, beats)
    }
    hub = repository(repo or published().repo, revision or published().revision)
    if finetuned is not None and not _can_be_a_folder(finetuned):
        raise _no_such_pair(finetuned, hub)
    # Every file is asked for before any is downloaded.
    answers = {component: describe(hub, path) for component, path in paths.items()}
    described = {name: remote for name, remote in answers.items() if remote is not None}
    if pair.keys() & paths.keys() and not pair.keys() & described.keys():
        raise _no_such_pair(str(finetuned), hub)
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
    targets = {name: out / f"{name}.pth" for name in paths}
    for name, target in targets.items():
        obtain(hub, described[name], target, progress)
    return list(targets.values())


def _can_be_a_folder(name: str) -> bool:
    return re.fullmatch(r"[^/\\]+", name) is not None and set(name) != {"."}


def _names(hub: Repository) -> list[str]:
    """List the fine-tuned pairs that a repository holds completely, sorted."""
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


def _components(only: Sequence[str], beats: bool) -> list[str]:
    """Return the components asked for, in the published order."""
    known = list(published().files)
    for name in only:
        if name not in known:
            raise InputError(
                f"no component {name!r}{nearest(name, known)}; there are {', '.join(known)}"
            )
    wanted = {*(only or (CODEC, *TRANSFORMERS)), *((TRACKER,) if beats else ())}
    return [name for name in known if name in wanted]
